"""The codec header: a msgpack map around the tree that describes a value.

A tree is made of leaves, which are msgpack's own None, bool, int (64 bits), float, str and bytes, and of
nodes, which are lists that start with a tag. A node refers to memory by a `Reference`: the number of a
buffer, or, for a few bytes, the bytes themselves.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgpack

from ...errors import CorruptData
from ..formats import check_format
from ..packing import pack

FORMAT = 1
"""Format of the header; raised when a reader of the old format could misread the new one."""

INLINE_TREE_BYTES = 4096
"""A tree up to this size lives in the header, a larger one in a buffer of its own."""

INLINE_LEAF_BYTES = 1024
"""Memory of a part of a value up to this size lives in the tree: many small parts are not many buffers."""

MAX_DEPTH = 200
"""Levels of nesting, well under what msgpack and the interpreter's stack take."""

Tree: TypeAlias = Any
Reference: TypeAlias = int | bytes


def pack_tree(tree: Tree) -> bytes:
    """The tree as msgpack."""
    return pack(tree)


def unpack_tree(packed: bytes | memoryview) -> Tree:
    """The inverse of `pack_tree`. Raises `CorruptData`."""
    try:
        return msgpack.unpackb(packed, use_list=True, unicode_errors="surrogatepass", strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise CorruptData(f"codec header of {len(packed)} bytes is not readable: {error}") from error


def pack_header(*, tree: Tree = None, tree_buffer: int | None = None) -> bytes:
    """A header around a tree, or one that says in which buffer the tree is."""
    place = {"tree": tree} if tree_buffer is None else {"buffer": tree_buffer}
    return pack_tree({"format": FORMAT, **place})


def unpack_header(header: bytes | memoryview) -> tuple[Tree, int | None]:
    """The tree, or the number of the buffer that holds it. Raises `CorruptData`."""
    fields = unpack_tree(header)
    if not isinstance(fields, dict):
        raise CorruptData(f"codec header is a {type(fields).__name__}, not a map")
    check_format(fields.get("format"), FORMAT, "the header of a value")
    if "tree" in fields:
        return fields["tree"], None
    buffer = fields.get("buffer")
    if type(buffer) is not int:
        raise CorruptData("codec header holds neither a tree nor the number of a buffer")
    return None, buffer
