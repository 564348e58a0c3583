"""`memories get` and `put`: values as files."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import click

from ..errors import InvalidType
from .group import fail
from .output import printable, size_text, write_json
from .target import Target, cluster_options, json_option
from .waiting import waiting

FORMAT_NAMES = ("npy", "npz", "parquet", "arrow", "json", "text", "bytes")
TIERS = ("hot", "warm", "cold", "glacier")
SHOWN_CHARACTERS = 4000

format_option = click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMAT_NAMES),
    help="Format of the file. [default: by its suffix]",
)


@click.command()
@click.argument("key")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), required=False)
@format_option
@click.option("--rows", metavar="START:END", help="Only these rows; either end may be left out.")
@json_option
@cluster_options
def get(
    target: Target, key: str, file: str | None, format_name: str | None, rows: str | None, as_json: bool
) -> None:
    """Read the value of KEY: show it, or write it into FILE ("-" for standard output).

    \b
    Examples:
      memories get features/train
      memories get features/train train.npy
      memories get table - --format parquet > table.parquet
      memories get features/train --rows 0:5 --json | jq .value

    Formats: npy, npz, parquet, arrow, json, text, bytes. Nothing is ever pickled: a value that no format
    holds is an error; so are NaN, dates and bytes in JSON. Exit code 4 where the key is not stored.
    """
    if as_json and file is not None:
        raise click.UsageError("--json shows the value; it does not go with FILE")
    start, end = _parse_rows(rows)
    with target.memory() as memory:
        with waiting(f"reading {key!r}"):
            if rows is None:
                value = memory.retrieve(key, timeout_s=target.timeout_s)
            else:
                value = memory.retrieve(key, start=start, end=end, timeout_s=target.timeout_s)
        if as_json:
            click.echo(_document(key, value))
        elif file is None and format_name is None:
            _show(value)
        else:
            _write(key, value, file or "-", format_name)


@click.command()
@click.argument("key")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@format_option
@click.option("--tier", type=click.Choice(TIERS), help="Where it goes first. [default: what fits]")
@click.option(
    "--metadata",
    "-m",
    "metadata",
    multiple=True,
    metavar="FIELD=VALUE",
    help="What to find it by; VALUE is JSON, or else text. Repeatable.",
)
@click.option("--priority", type=float, default=0.0, show_default=True, help="Higher stays longer.")
@click.option("--ttl", type=float, metavar="SECONDS", help="Forget it after so long.")
@click.option("--pin", is_flag=True, help="Keep it in its tier.")
@click.option("--replicas", type=click.IntRange(min=1), help="On so many nodes.")
@click.option("--durable", is_flag=True, help="Return once it is on stable storage.")
@json_option
@cluster_options
def put(
    target: Target,
    key: str,
    file: str,
    format_name: str | None,
    tier: str | None,
    metadata: tuple[str, ...],
    priority: float,
    ttl: float | None,
    pin: bool,
    replicas: int | None,
    durable: bool,
    as_json: bool,
) -> None:
    """Store what FILE holds ("-" for standard input) under KEY, replacing what was there.

    \b
    Examples:
      memories put features/train train.npy --durable
      memories put table data.parquet --tier cold -m split=train -m part=3
      echo '{"lr": 0.001}' | memories put config - --format json

    By the suffix: .npy an array, .npz arrays by name, .parquet .pq .arrow .feather a table, .json plain
    values, .txt .md .csv text, all else bytes. Files with pickled objects are refused.
    """
    fields = _parse_metadata(metadata)
    from .files import format_of, read_file

    form = format_of(file, format_name)
    with waiting(f"reading {file}"):
        value = read_file(file, form)
    with target.memory() as memory, waiting(f"storing {key!r}"):
        receipt = memory.store(
            key,
            value,
            tier=tier,
            metadata=fields,
            priority=priority,
            ttl=ttl,
            pin=pin,
            replicas=replicas,
            durable=durable,
            timeout_s=target.timeout_s,
        )
    if as_json:
        version = {"epoch": receipt.version[0], "sequence": receipt.version[1]}
        write_json({"key": key, "version": version, "copies": receipt.copies, "durable": receipt.durable})
    else:
        click.echo(
            f"{printable(key)}: {_in_words(value)}, {receipt.copies} "
            f"{'copy' if receipt.copies == 1 else 'copies'}{', on stable storage' if receipt.durable else ''}"
        )


def _parse_metadata(pairs: tuple[str, ...]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{pair!r} is not FIELD=VALUE", param_hint="--metadata")
        try:
            fields[name] = json.loads(text)
        except json.JSONDecodeError:
            fields[name] = text
        except (ValueError, RecursionError) as error:  # JSON, but too long a number, or too deep
            raise click.BadParameter(f"{pair[:60]!r}...: {error}", param_hint="--metadata") from error
    return fields


def _parse_rows(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    first, colon, last = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return (int(first) if first else None), (int(last) if last else None)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not START:END", param_hint="--rows") from None


def _write(key: str, value: Any, file: str, format_name: str | None) -> None:
    from .files import STDIO, format_for, format_of, write_file

    if format_name is None and (file == STDIO or not os.path.splitext(file)[1]):
        form = format_for(value)
    else:
        form = format_of(file, format_name)
    try:
        with waiting(f"writing {file}"):
            nbytes = write_file(file, value, form)
    except InvalidType as error:  # the call was right, the value is what it is
        fail(f"{key!r} cannot be written as {form.name}: {error}")
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror or error}")
    if file != STDIO:
        click.echo(f"{printable(file)}: {_in_words(value)}, {size_text(nbytes)} of {form.name}")


def _description(value: Any) -> dict[str, Any]:
    """Type, and where the value has them dtype, shape and columns."""
    found: dict[str, Any] = {"type": type(value).__name__}
    for name in ("dtype", "shape"):
        part = getattr(value, name, None)
        if part is not None:
            found[name] = list(part) if name == "shape" else str(part)
    if hasattr(value, "column_names"):
        found["columns"] = list(value.column_names)
    return found


def _document(key: str, value: Any) -> str:
    """What `get --json` shows: one line, for it may be long."""
    from .files import json_text

    document = {"key": key, **_description(value), "value": value}
    if isinstance(value, bytes | bytearray | memoryview):
        document |= {"encoding": "base64", "value": base64.b64encode(value).decode()}
    try:
        return json_text(document)
    except InvalidType as error:
        fail(f"the value cannot be shown as JSON: {error}")


def _in_words(value: Any) -> str:
    described = _description(value)
    shape = " x ".join(map(str, described.get("shape", ())))
    parts = (described["type"], described.get("dtype", ""), shape)
    return " ".join(part for part in parts if part)


def _show(value: Any) -> None:
    """For people: text and plain values as they are, arrays and tables as Python shows them."""
    if isinstance(value, str):
        click.echo(printable(value), nl=not value.endswith("\n"))
        return
    if isinstance(value, bytes | bytearray | memoryview):
        click.echo(f"{_in_words(value)}, {size_text(len(value))}; `memories get KEY FILE` writes them")
        return
    import numpy as np

    with np.printoptions(threshold=200, edgeitems=5):
        text = str(value) if hasattr(value, "shape") else repr(value)
    click.echo(f"# {_in_words(value)}")
    click.echo(printable(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " ..."))
