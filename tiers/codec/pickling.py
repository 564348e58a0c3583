"""Pickle, the marked last resort: protocol 5, with large memory out of band."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from ...errors import CorruptData, InvalidType, InvalidValue, PickleRefused
from .header import Reference, Tree

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer


def encode_pickle(writer: Writer, value: Any) -> Tree:
    """A pickle of the value. Raises `PickleRefused` where the writer may not pickle."""
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if not writer.allow_pickle:
        raise PickleRefused(
            f"a value of type {name} can only be pickled, which is not allowed here: "
            "convert it to arrays, tables, text or containers of these, or pass allow_pickle=True"
        )
    out_of_band: list[pickle.PickleBuffer] = []
    try:
        stream = pickle.dumps(value, protocol=5, buffer_callback=out_of_band.append)
    except RecursionError as error:
        raise InvalidValue(f"a value of type {name} is nested too deeply to be pickled") from error
    except Exception as error:  # __reduce__ and __getstate__ are the user's code
        raise InvalidType(f"a value of type {name} cannot be stored: {error}") from error
    writer.has_pickle = True
    views = [_bytes_of(buffer) for buffer in out_of_band]
    readonly = [view.readonly for view in views]
    return [
        "pickle",
        writer.reference(memoryview(stream)),
        readonly,
        *(writer.reference(view) for view in views),
    ]


def _bytes_of(buffer: pickle.PickleBuffer) -> memoryview:
    return buffer.raw()


def decode_pickle(reader: Reader, stream: Reference, readonly: list[bool], *references: Reference) -> Any:
    """Unpickle, where the caller allowed it. What was read-only before is a view, the rest a copy,
    because an object that was pickled expects to own its memory."""
    if not reader.allow_pickle:
        raise PickleRefused(
            "the value holds a pickle, which can run any code when it is read: "
            "pass allow_pickle=True if you trust where it comes from"
        )
    if len(readonly) != len(references):
        raise CorruptData(f"pickle with {len(references)} buffers and {len(readonly)} marks")
    views = [reader.buffer(reference) for reference in references]
    buffers = [
        view.toreadonly() if keep else bytearray(view) for view, keep in zip(views, readonly, strict=True)
    ]
    try:
        return pickle.loads(reader.buffer(stream), buffers=buffers)
    except Exception as error:  # classes may be gone or changed, and a damaged pickle can raise anything
        raise CorruptData(f"the pickle cannot be read: {type(error).__name__}: {error}") from error


DECODERS = {"pickle": decode_pickle}
