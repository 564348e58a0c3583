"""`memories dashboard`: serves the dashboard."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Ray to look in: host:6379 on one of its nodes, ray://host:10001 from elsewhere. "
    "[default: $RAY_ADDRESS, else the Ray of this machine]",
)
@click.option("--name", default="default", show_default=True, help="Name of the cluster in that Ray.")
@click.option("--namespace", default="memories", show_default=True, help="Ray namespace of the cluster.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Port to listen on."
)
@click.option("--open/--no-open", "open_browser", default=False, help="Open a browser.")
def dashboard(
    address: str | None, name: str, namespace: str, host: str, port: int, open_browser: bool
) -> None:
    """Watch a cluster in the browser.

    Serves until Ctrl-C. Changes nothing, and asks the cluster for at most one snapshot a second, however
    many look. Without a cluster it shows this machine, until there is one.

    It listens on loopback only: it has no password. From elsewhere use a tunnel:
    ssh -L 8501:localhost:8501 HEAD.

    \b
    Examples:
      memories dashboard
      memories dashboard --address ray://head:10001 --port 8600
    """
    from ..actors.names import check_cluster_name
    from ..dashboard.launch import check_place, serve

    check_cluster_name(name)
    check_place(host, port)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"cluster {name!r} is shown at http://{shown}:{port} until Ctrl-C")
    serve(address, cluster=name, namespace=namespace, host=host, port=port, open_browser=open_browser)
