"""`encode` and `decode`: the two entrances of the codec."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ...errors import CorruptData, MissingDependency, PickleRefused
from ..encoded import Encoded
from .header import INLINE_TREE_BYTES, pack_header, pack_tree, unpack_header, unpack_tree
from .plain import bytes_tree
from .reader import Reader
from .writer import Writer


def encode(value: Any, *, allow_pickle: bool = True) -> Encoded:
    """Take a value apart without copying its large buffers.

    The buffers are views of the value's memory: nobody may write to the value while they are in use.
    Only what has no representation without pickle is pickled; with `allow_pickle=False` that raises
    `PickleRefused` instead. Raises `InvalidType` for what cannot even be pickled, and `InvalidValue` for
    a container that contains itself or is nested too deeply. That two parts of a value are the same
    object is not kept: each comes back on its own.
    """
    if type(value) is bytes and value:  # by far the most frequent small value
        return Encoded(_bytes_header(len(value)), (memoryview(value),))
    writer = Writer(allow_pickle=allow_pickle)
    tree = writer.node(value)
    packed = pack_tree(tree)
    if len(packed) <= INLINE_TREE_BYTES:
        return Encoded(pack_header(tree=tree), tuple(writer.buffers), writer.has_pickle)
    # A large tree (a dict of 10,000 numbers) is bulk data itself: it becomes the last buffer.
    index = len(writer.buffers)
    buffers = (*writer.buffers, memoryview(packed))
    return Encoded(pack_header(tree_buffer=index), buffers, writer.has_pickle)


@lru_cache(maxsize=1024)
def _bytes_header(nbytes: int) -> bytes:
    """The header of bytes of this length, which are the first buffer; many values share theirs."""
    return pack_header(tree=bytes_tree(nbytes, 0))


def decode(
    header: bytes | memoryview,
    buffers: Sequence[memoryview],
    *,
    allow_pickle: bool = False,
    writable: bool = False,
    device: str | None = None,
) -> Any:
    """Put a value together again.

    Arrays, tables and frames are views of the buffers. With `writable=False` NumPy arrays are
    read-only, and tensors, which cannot be, are views only of buffers that are themselves writable:
    whoever wants to keep its memory safe hands in read-only views, of which tensors are copies. With
    `writable=True` parts whose buffers are read-only are copied.

    Tensors come back on the CPU, or on `device`; ``device="stored"`` means the device that they were
    on, where there is such a device now.

    Header and buffers may come from an adversary: raises `CorruptData` for anything that `encode` could
    not have made, allocates no more than a small multiple of what is handed in, and unpickles only with
    `allow_pickle=True` (`PickleRefused` otherwise).
    """
    try:
        tree, tree_buffer = unpack_header(header)
        reader = Reader(buffers, allow_pickle=allow_pickle, writable=writable, device=device)
        if tree_buffer is not None:
            tree = unpack_tree(reader.buffer(tree_buffer))
        return reader.value(tree)
    except (CorruptData, PickleRefused, MissingDependency, MemoryError):
        raise
    except Exception as error:  # damaged input can provoke any error in NumPy, torch, Arrow or pandas
        raise CorruptData(f"stored value cannot be decoded: {type(error).__name__}: {error}") from error
