"""`memories snapshot create | restore | list`: everything that a cluster holds, in one file."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..errors import MemoriesError
from .group import fail
from .output import printable, size_text, write_json, write_table
from .target import DEFAULT_NAME, Target, cluster_options, json_option


@click.group()
def snapshot() -> None:
    """Write everything that a cluster holds into one file, and store it again.

    \b
    Examples:
      memories snapshot create --description "before the migration"
      memories snapshot list
      memories snapshot restore 20260131-120000-a1b2c3
    """


@snapshot.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--description", default="", help="For those who list it.")
@json_option
@cluster_options
def create(target: Target, file: Path | None, description: str, as_json: bool) -> None:
    """Write a snapshot into FILE, or under a new id into the snapshot folder of this machine.

    \b
    Examples:
      memories snapshot create
      memories snapshot create /backup/monday.memories --description "weekly"
    """
    if file is not None and not file.resolve().parent.is_dir():
        raise click.BadParameter(f"the folder {file.parent} does not exist", param_hint="FILE")
    with target.memory() as memory:
        from ..actors.cluster_snapshots import SUFFIX, snapshot_folder

        folder = snapshot_folder(target.name)
        try:
            identity = memory.create_snapshot(file, description=description)
        except MemoriesError:
            raise
        except OSError as error:
            fail(f"{file or folder} cannot be written: {error.strerror or error}")
    path = file or folder / f"{identity}{SUFFIX}"
    nbytes = path.stat().st_size
    if as_json:
        write_json({"id": identity, "path": str(path.resolve()), "bytes": nbytes})
    else:
        size, shown = size_text(nbytes), printable(str(path))
        click.echo(f"{identity} ({size} in {shown})" if file is None else f"{shown}: {size}")


@snapshot.command()
@click.argument("source", metavar="ID|FILE")
@click.option("--key", "keys", multiple=True, help="Only this key. Repeatable.")
@click.option("--allow-pickle", is_flag=True, help="Take values that are pickled: only from those you trust.")
@json_option
@cluster_options
def restore(target: Target, source: str, keys: tuple[str, ...], allow_pickle: bool, as_json: bool) -> None:
    """Store what a snapshot holds, after all of it was verified. Other keys stay as they are.

    \b
    Examples:
      memories snapshot restore 20260131-120000-a1b2c3
      memories snapshot restore /backup/monday.memories --key features/train

    Exit code 4 where there is no such snapshot, or no such key in it.
    """
    with target.memory() as memory:
        restored = memory.restore_snapshot(source, keys=list(keys) or None, allow_pickle=allow_pickle)
    if as_json:
        write_json({"restored": restored})
    else:
        click.echo(f"{len(restored):,} keys restored")


@snapshot.command("list")
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="Name of the cluster.")
@json_option
def list_(name: str, as_json: bool) -> None:
    """List the snapshots in the snapshot folder of this machine, the oldest first. Needs no cluster.

    \b
    Examples:
      memories snapshot list
      memories snapshot list --json | jq -r '.[-1].id'
    """
    from ..actors.cluster_snapshots import snapshot_folder, snapshots_in
    from ..actors.names import check_cluster_name

    found = snapshots_in(snapshot_folder(check_cluster_name(name)))
    if as_json:
        write_json(
            [
                {
                    "id": s.id,
                    "path": str(s.path),
                    "description": s.description,
                    "created_s": s.created_s,
                    "keys": s.keys,
                    "bytes": s.path.stat().st_size,
                }
                for s in found
            ]
        )
        return
    write_table(
        "",
        ("id", "written", ">keys", ">size", "description"),
        [
            (
                s.id,
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(s.created_s)),
                f"{s.keys:,}",
                size_text(s.path.stat().st_size),
                s.description,
            )
            for s in found
        ],
    )
