"""`serve` starts the dashboard's server; `run_dashboard` is what scripts call, in Streamlit or outside."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path
from typing import Any

from ..actors.names import NAMESPACE, check_cluster_name
from ..errors import InvalidValue

PORT = 8501
HOST = "127.0.0.1"


def serve(
    address: str | None = None,
    *,
    cluster: str = "default",
    namespace: str = NAMESPACE,
    host: str = HOST,
    port: int = PORT,
    open_browser: bool = False,
) -> None:
    """Serve the dashboard until Ctrl-C. On loopback unless told another `host`: it has no password, and
    whoever reaches it sees names of keys, nodes and buffers. It changes nothing, and calls nobody.

    address: of Ray, as in `memories.connect`; None looks on this machine, and shows this process as long
        as there is no cluster.
    """
    check_cluster_name(cluster)
    check_place(host, port)
    os.environ |= {
        "MEMORIES_DASHBOARD_ADDRESS": address or "",
        "MEMORIES_DASHBOARD_CLUSTER": cluster,
        "MEMORIES_DASHBOARD_NAMESPACE": namespace,
    }
    _serve_script(Path(__file__).parent / "script" / "app.py", host, port, open_browser)


def check_place(host: str, port: int) -> None:
    """Raise `InvalidValue` where nobody can listen there: no such address of this machine, or a port that is
    in use."""
    if not 0 < port < 65536:
        raise InvalidValue(f"port must be between 1 and 65535, not {port}")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
    except OSError as error:
        raise InvalidValue(
            f"nobody can listen at {host}:{port}: {error.strerror}; choose another host or port"
        ) from error
    except UnicodeError as error:
        raise InvalidValue(
            f"nobody can listen at {host!r}, which cannot be the name of a host: {error}; choose another host"
        ) from error


def run_dashboard(
    address: str | None = None,
    *,
    cluster: str = "default",
    host: str = HOST,
    port: int = PORT,
) -> None:
    """Show the dashboard: in a script that Streamlit runs, draw it there; anywhere else, serve it until
    Ctrl-C, in this process, so that it shows this process's replay buffers and plugins.

    Where a cluster of ours runs, that is shown; else this process and its machine. To watch a training loop,
    serve it beside the loop.

    Examples:
        >>> import threading
        >>> beside = threading.Thread(target=run_dashboard, kwargs={"port": 8501}, daemon=True)
        >>> beside.start()  # doctest: +SKIP
    """
    import streamlit as st

    if st.runtime.exists():
        from .app import Looked, draw

        draw(Looked(address, cluster))
    else:
        serve(address, cluster=cluster, host=host, port=port)


def options(host: str, port: int, open_browser: bool) -> dict[str, Any]:
    """Settings of the server: no usage statistics, nothing that is written in the code is watched."""
    return {
        "server_address": host,
        "server_port": port,
        "server_headless": not open_browser,
        "server_fileWatcherType": "none",
        "browser_gatherUsageStats": False,
        "client_toolbarMode": "minimal",
        "client_showErrorDetails": "type",
        "logger_hideWelcomeMessage": True,
    }


def _serve_script(script: Path, host: str, port: int, open_browser: bool) -> None:
    from streamlit.web import bootstrap
    from streamlit.web.server import Server

    flags = options(host, port, open_browser)
    bootstrap.load_config_options(flags)
    if threading.current_thread() is threading.main_thread():
        bootstrap.run(str(script), False, [], flags)
        return

    async def serve_beside_others() -> None:  # signals belong to the main thread
        server = Server(str(script), False)
        await server.start()
        await server.stopped

    asyncio.run(serve_beside_others())
