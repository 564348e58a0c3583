"""Values as files of well-known formats, and back. Nothing is pickled or unpickled."""

from __future__ import annotations

import io
import json
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import CorruptData, InvalidType, PickleRefused

Source = Path | io.BytesIO
STDIO = "-"


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A way to write values of some types. `read` and `write` raise `InvalidType` for other types, and
    `CorruptData` for a file that is none of this format."""

    name: str
    suffixes: tuple[str, ...]
    holds: str
    read: Callable[[Source], Any]
    write: Callable[[Any, BinaryIO], None]


def format_of(path: str, name: str | None) -> FileFormat:
    """The format that was asked for, or else that of the file's suffix, or else bytes."""
    if name is not None:
        return FORMATS[name]
    suffix = Path(path).suffix.lower()
    return next((f for f in FORMATS.values() if suffix in f.suffixes), FORMATS["bytes"])


def format_for(value: Any) -> FileFormat:
    """The format that fits a value best."""
    if isinstance(value, str):
        return FORMATS["text"]
    if isinstance(value, bytes | bytearray | memoryview):
        return FORMATS["bytes"]
    if _is_table(value):
        return FORMATS["arrow"]
    if isinstance(value, np.ndarray) or _is_tensor(value):
        return FORMATS["npy"]
    return FORMATS["json"]


def read_file(path: str, form: FileFormat) -> Any:
    """The value in a file; "-" is standard input. Large arrays are mapped, not read."""
    source: Source = io.BytesIO(sys.stdin.buffer.read()) if path == STDIO else Path(path)
    try:
        return form.read(source)
    except (ValueError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise PickleRefused(
                f"{path} holds pickled objects, which are never loaded from a file"
            ) from error
        raise CorruptData(f"{path} is no {form.name} file: {error}") from error


def write_file(path: str, value: Any, form: FileFormat) -> int:
    """Write a value in the place of a file, whole or not at all; "-" is standard output. Bytes written."""
    if path == STDIO:
        buffer = io.BytesIO()  # a pipe cannot seek, and gets nothing where the value does not fit the format
        form.write(value, buffer)
        sys.stdout.buffer.write(buffer.getbuffer())
        sys.stdout.buffer.flush()
        return buffer.getbuffer().nbytes
    target = Path(path)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with partial.open("xb") as file:
            form.write(value, file)
            file.flush()
            os.fsync(file.fileno())
            nbytes = file.tell()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return nbytes


def as_array(value: Any) -> np.ndarray:
    """An array or tensor as an array without objects."""
    if _is_tensor(value):
        try:
            value = value.detach().cpu().numpy()
        except TypeError as error:
            raise InvalidType(f"NumPy has no {value.dtype}; store the tensor as float32") from error
    if not isinstance(value, np.ndarray | np.generic | bool | int | float | complex):
        raise InvalidType(f"a {_type_name(value)} is no array; {_hint(value)}")
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise InvalidType(f"an array of {array.dtype} needs pickle, which no file format here uses")
    return array


def as_plain(value: Any) -> Any:
    """A value in the terms of JSON: arrays as nested lists, tables as rows."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InvalidType("JSON knows only strings as keys of an object")
        return {key: as_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    if _is_table(value):
        return _as_table(value).to_pylist()
    if isinstance(value, (np.generic, np.ndarray)) or _is_tensor(value):
        plain = as_array(value).tolist()
        if isinstance(plain, bytes | complex):
            raise InvalidType(f"JSON knows no {type(plain).__name__}")
        return plain
    raise InvalidType(f"JSON knows no {_type_name(value)}; {_hint(value)}")


def _read_npy(source: Source) -> Any:
    if isinstance(source, Path):
        return np.asarray(np.load(source, mmap_mode="r", allow_pickle=False))
    return np.load(source, allow_pickle=False)


def _read_npz(source: Source) -> Any:
    loaded = np.load(source, allow_pickle=False)
    if not hasattr(loaded, "files"):
        raise CorruptData("it holds one array: read it as npy")
    with loaded:
        return {name: loaded[name] for name in loaded.files}


def _write_npy(value: Any, file: BinaryIO) -> None:
    np.save(file, as_array(value), allow_pickle=False)


def _write_npz(value: Any, file: BinaryIO) -> None:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise InvalidType(f"npz holds arrays by name, not a {_type_name(value)}")
    arrays = {name: as_array(part) for name, part in value.items()}
    np.savez(file, allow_pickle=False, **arrays)


def _read_parquet(source: Source) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(source)


def _write_parquet(value: Any, file: BinaryIO) -> None:
    import pyarrow.parquet as pq

    pq.write_table(_as_table(value), file)


def _read_arrow(source: Source) -> Any:
    import pyarrow as pa

    opened = pa.memory_map(str(source)) if isinstance(source, Path) else pa.BufferReader(source.getvalue())
    try:
        return pa.ipc.open_file(opened).read_all()
    except pa.ArrowInvalid:
        opened.seek(0)
        return pa.ipc.open_stream(opened).read_all()


def _write_arrow(value: Any, file: BinaryIO) -> None:
    import pyarrow as pa

    table = _as_table(value)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read_json(source: Source) -> Any:
    return json.loads(_bytes(source))


def _write_json(value: Any, file: BinaryIO) -> None:
    file.write(json.dumps(as_plain(value), ensure_ascii=False).encode() + b"\n")


def _read_text(source: Source) -> Any:
    return _bytes(source).decode()


def _write_text(value: Any, file: BinaryIO) -> None:
    if not isinstance(value, str):
        raise InvalidType(f"a {_type_name(value)} is no text; {_hint(value)}")
    file.write(value.encode())


def _write_bytes(value: Any, file: BinaryIO) -> None:
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidType(f"a {_type_name(value)} is no bytes; {_hint(value)}")
    file.write(value)


def _bytes(source: Source) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source.getvalue()


def _is_tensor(value: Any) -> bool:
    """Asked by name: importing torch takes a second."""
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in type(value).__mro__)


def _is_table(value: Any) -> bool:
    kind = type(value)
    return (kind.__module__.partition(".")[0], kind.__name__) in {
        ("pyarrow", "Table"),
        ("pyarrow", "RecordBatch"),
        ("pandas", "DataFrame"),
    }


def _as_table(value: Any) -> Any:
    import pyarrow as pa

    if not _is_table(value):
        raise InvalidType(f"a {_type_name(value)} is no table; {_hint(value)}")
    if isinstance(value, pa.Table):
        return value
    return (
        pa.Table.from_batches([value]) if isinstance(value, pa.RecordBatch) else pa.Table.from_pandas(value)
    )


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")


def _hint(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        return "try --format json, or npz for arrays by name"
    fits = format_for(value).name
    return "read it in Python" if fits == "json" else f"use --format {fits}"


FORMATS = {
    f.name: f
    for f in (
        FileFormat("npy", (".npy",), "an array or tensor", _read_npy, _write_npy),
        FileFormat("npz", (".npz",), "arrays by name", _read_npz, _write_npz),
        FileFormat("parquet", (".parquet", ".pq"), "a table", _read_parquet, _write_parquet),
        FileFormat("arrow", (".arrow", ".feather", ".ipc"), "a table", _read_arrow, _write_arrow),
        FileFormat("json", (".json",), "plain values, and arrays as lists", _read_json, _write_json),
        FileFormat(
            "text", (".txt", ".md", ".csv", ".tsv", ".log", ".yaml", ".yml"), "text", _read_text, _write_text
        ),
        FileFormat("bytes", (".bin",), "bytes as they are", _bytes, _write_bytes),
    )
}
