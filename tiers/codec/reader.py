"""`Reader`: builds a value from its tree and its buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ...errors import CorruptData
from .header import MAX_DEPTH, Reference, Tree

Decoder = Callable[..., Any]

_MODULES = {
    "big": ".plain",
    "complex": ".plain",
    "str": ".plain",
    "bytes": ".plain",
    "bytearray": ".plain",
    "memoryview": ".plain",
    "list": ".plain",
    "tuple": ".plain",
    "set": ".plain",
    "frozenset": ".plain",
    "dict": ".plain",
    "odict": ".plain",
    "numbers": ".plain",
    "array": ".arrays",
    "scalar": ".arrays",
    "text": ".arrays",
    "strings": ".arrays",
    "tensor": ".tensors",
    "arrow": ".tables",
    "frame": ".frames",
    "series": ".frames",
    "index": ".frames",
    "pickle": ".pickling",
}
"""Which module decodes which tag; imported when the tag is met."""

_LEAVES = frozenset({type(None), bool, int, float, str, bytes})


class Reader:
    """Hands out the buffers of one value, each once. Used once, by one thread."""

    def __init__(
        self, buffers: Sequence[memoryview], *, allow_pickle: bool, writable: bool, device: str | None
    ) -> None:
        self.allow_pickle = allow_pickle
        self.writable = writable
        self.device = device
        self._buffers: list[memoryview | None] = list(buffers)
        self._depth = 0

    def value(self, tree: Tree) -> Any:
        """The value of a tree. May raise anything on a hostile tree; `decode` turns that into
        `CorruptData`."""
        kind = type(tree)
        if kind in _LEAVES:
            return tree
        if kind is not list or not tree:
            raise CorruptData(f"codec tree holds a {kind.__name__} where a node should be")
        tag = tree[0]
        module = _MODULES.get(tag) if type(tag) is str else None
        if module is None:
            raise CorruptData(f"codec tree holds the unknown tag {tag!r:.40}: written by a later version?")
        if self._depth > MAX_DEPTH:
            raise CorruptData(f"codec tree is nested more than {MAX_DEPTH} levels deep")
        self._depth += 1
        decoder: Decoder = import_module(module, __package__).DECODERS[tag]
        value = decoder(self, *tree[1:])
        self._depth -= 1
        return value

    def buffer(self, reference: Reference) -> memoryview:
        """The bytes of a reference. A buffer can be had once only: were it several times, a header of
        1 kB could ask for a thousand copies of a large buffer."""
        if type(reference) is bytes:
            return memoryview(reference)
        if type(reference) is not int or not 0 <= reference < len(self._buffers):
            raise CorruptData(f"codec tree refers to buffer {reference!r:.40} of {len(self._buffers)}")
        view = self._buffers[reference]
        if view is None:
            raise CorruptData(f"codec tree refers to buffer {reference} twice")
        self._buffers[reference] = None
        return memoryview(view).cast("B")
