"""`Writer`: walks a value, and collects its tree and its buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ...errors import InvalidValue
from . import pickling, plain
from .header import INLINE_LEAF_BYTES, MAX_DEPTH, Reference, Tree

Encoder = Callable[["Writer", Any], Tree]
"""Makes the tree of a value, or returns NotImplemented where only pickle can."""

_LAZY_ENCODERS = {
    "numpy": ".arrays",
    "torch": ".tensors",
    "pyarrow": ".tables",
    "pandas": ".frames",
}
"""Which module encodes the types of which package. A package is imported only once a value of its
types has been seen, when it is loaded anyway."""


class Writer:
    """Collects the buffers of one value. Used once, by one thread."""

    def __init__(self, *, allow_pickle: bool) -> None:
        self.allow_pickle = allow_pickle
        self.has_pickle = False
        self.buffers: list[memoryview] = []
        self._depth = 0
        self._open: set[int] = set()

    def node(self, value: Any) -> Tree:
        """The tree of a value, its memory added to `buffers`."""
        kind = type(value)
        encoder = plain.ENCODERS.get(kind)
        if encoder is None:
            encoder = _foreign_encoder(kind)
        tree = NotImplemented if encoder is None else encoder(self, value)
        if tree is NotImplemented:
            tree = pickling.encode_pickle(self, value)
        return tree

    @contextmanager
    def inside(self, container: Any) -> Iterator[None]:
        """Marks a container as being walked. Raises `InvalidValue` for a cycle and for deep nesting."""
        if id(container) in self._open:
            raise InvalidValue(
                f"the {type(container).__name__} contains itself, and a cycle has no end: "
                "break the cycle, or store an object of your own class (which is pickled)"
            )
        if self._depth >= MAX_DEPTH:
            raise InvalidValue(f"the value is nested more than {MAX_DEPTH} levels deep: flatten it")
        self._open.add(id(container))
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._open.discard(id(container))

    @property
    def nested(self) -> bool:
        """Whether the value being encoded is a part of another."""
        return self._depth > 0

    def reference(self, view: memoryview) -> Reference:
        """Add a one-dimensional byte view to the buffers. Little memory inside a container is copied
        into the tree instead, so that 10,000 small arrays do not become 10,000 buffers."""
        if view.nbytes == 0 or (self.nested and view.nbytes <= INLINE_LEAF_BYTES):
            return bytes(view)
        self.buffers.append(view)
        return len(self.buffers) - 1


def _foreign_encoder(kind: type) -> Encoder | None:
    for base in kind.__mro__:
        module = _LAZY_ENCODERS.get(base.__module__.partition(".")[0])
        if module is not None:
            encoder: Encoder = import_module(module, __package__).encode_node
            return encoder
    return None
