"""Values as files of well-known formats, and back. Nothing is pickled or unpickled."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import secrets
import stat
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import CorruptData, InvalidType, PickleRefused

Source = Path | io.BytesIO
STDIO = "-"
DAMAGED = (
    ValueError,
    EOFError,
    OSError,
    RuntimeError,  # nested too deep, or what their readers do not implement
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,  # NumPy reads a header as Python
)
"""What readers raise for files that are none of theirs."""


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
    except DAMAGED as error:
        # EINVAL: an offset in the file was taken at its word.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise PickleRefused(
                f"{path} holds pickled objects, which are never loaded from a file"
            ) from error
        raise CorruptData(f"{path} is no {form.name} file: {error}") from error


def write_file(path: str, value: Any, form: FileFormat) -> int:
    """Write a value in the place of a file, whole or not at all, with the mode that the file had; where the
    file is a symbolic link, in the place of the one that it names. "-" is standard output; that, a pipe and a
    device are written into. Bytes written."""
    if path == STDIO:
        return _pour(_encoded(value, form), sys.stdout.buffer)
    mode = _mode_of(path)
    if mode is not None and not stat.S_ISREG(mode):
        encoded = _encoded(value, form)
        with open(path, "wb") as pipe:
            return _pour(encoded, pipe)
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".memories-{secrets.token_hex(8)}")  # short, however long the file's name is
    try:
        with partial.open("xb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
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
    """A value in the terms of JSON: arrays as nested lists, tables as rows. `InvalidType` for what JSON does
    not know, NaN and infinity among it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidType(f"JSON knows no {value}; read it in Python, or write an array with --format npy")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InvalidType("JSON knows only strings as keys of an object")
        return {key: as_plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    if _is_table(value):
        return as_plain(_rows_of(_as_table(value)))
    if isinstance(value, (np.generic, np.ndarray)) or _is_tensor(value):
        array = as_array(value)
        plain = array.tolist()
        if array.dtype.kind in "mMcS" or isinstance(plain, np.generic):
            raise InvalidType(f"JSON knows no {array.dtype}; use --format npy")
        return as_plain(plain)
    raise InvalidType(f"JSON knows no {_type_name(value)}; {_hint(value)}")


def json_text(value: Any, *, ensure_ascii: bool = True) -> str:
    """A value as JSON in one line. Raises `InvalidType`."""
    try:
        return json.dumps(as_plain(value), ensure_ascii=ensure_ascii, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InvalidType(f"it cannot be JSON: {error}; read it in Python") from error


def _mode_of(path: str) -> int | None:
    """The mode of what is there, seen through symbolic links; None where nothing is."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _encoded(value: Any, form: FileFormat) -> memoryview:
    buffer = io.BytesIO()  # a pipe cannot seek, and gets nothing where the value does not fit the format
    form.write(value, buffer)
    return buffer.getbuffer()


def _pour(encoded: memoryview, stream: BinaryIO) -> int:
    stream.write(encoded)
    stream.flush()
    return encoded.nbytes


def _read_npy(source: Source) -> Any:
    loaded = np.load(source, mmap_mode="r" if isinstance(source, Path) else None, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise CorruptData("it holds several arrays: read it as npz")
    return np.asarray(loaded)


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
    for name in value:
        if f"{name}.npy" in value:
            raise InvalidType(f"npz cannot tell {name!r} and {f'{name}.npy'!r} apart: give one another name")
        if "\0" in name:
            raise InvalidType(f"npz cannot hold the name {name!r}: it would end at the zero byte")
        _utf8(name)
    arrays = {name: as_array(part) for name, part in value.items()}
    # As np.savez does, whose own arguments, such as `file`, are no names of arrays.
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read_parquet(source: Source) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(source)


def _write_parquet(value: Any, file: BinaryIO) -> None:
    import pyarrow.parquet as pq

    table = _as_table(value)
    with _arrow_at_work():
        pq.write_table(table, file)


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
    with _arrow_at_work(), pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read_json(source: Source) -> Any:
    return json.loads(_bytes(source))


def _write_json(value: Any, file: BinaryIO) -> None:
    # Only a half of a surrogate pair has no bytes in UTF-8, and its Python escape is JSON's.
    file.write(json_text(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


def _read_text(source: Source) -> Any:
    return _bytes(source).decode()


def _write_text(value: Any, file: BinaryIO) -> None:
    if not isinstance(value, str):
        raise InvalidType(f"a {_type_name(value)} is no text; {_hint(value)}")
    file.write(_utf8(value))


def _write_bytes(value: Any, file: BinaryIO) -> None:
    if isinstance(value, str):
        value = _utf8(value)
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InvalidType(f"a {_type_name(value)} is no bytes; {_hint(value)}")
    file.write(value)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise InvalidType(
            f"{half!r} at position {error.start:,} is half of a character, which UTF-8 cannot hold; "
            "try --format json"
        ) from error


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
    with _arrow_at_work():
        if isinstance(value, pa.RecordBatch):
            return pa.Table.from_batches([value])
        return pa.Table.from_pandas(value)


def _rows_of(table: Any) -> Any:
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidType(f"two columns are called {twice!r}, and a row in JSON would lose one; use parquet")
    with _arrow_at_work():
        return table.to_pylist()


@contextmanager
def _arrow_at_work() -> Iterator[None]:
    """What Arrow cannot do with a table is `InvalidType`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise InvalidType(f"Arrow cannot do this with the table: {error}; read it in Python") from error


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
