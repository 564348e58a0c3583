"""`SharedBlobs`: the warm tier of a cluster: values in the node's object store, held through views of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..tiers.blobs import Blob
from ..tiers.memory_blobs import MemoryBlobs
from ..tiers.record import Version

if TYPE_CHECKING:
    import ray


class SharedBlobs(MemoryBlobs):
    """Blobs whose large buffers are views of shared memory, with the references that lead there.

    Holding a view keeps the bytes alive, even when the process that put them is gone; the reference is
    only a shortcut for readers on the same node, and may be dead. Thread-safe as `MemoryBlobs` is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._refs: dict[str, tuple[Version, ray.ObjectRef[Any]]] = {}

    def note_ref(self, key: str, version: Version, ref: ray.ObjectRef[Any]) -> None:
        """Remember where readers on this node find the value of this version."""
        self._refs[key] = (version, ref)

    def ref(self, key: str, version: Version) -> ray.ObjectRef[Any] | None:
        """The reference to the value of exactly this version, if there is one."""
        noted = self._refs.get(key)
        return noted[1] if noted is not None and noted[0] == version else None

    def put(self, blob: Blob) -> None:
        super().put(blob)
        noted = self._refs.get(blob.record.key)
        if noted is not None and noted[0] != blob.record.version:
            del self._refs[blob.record.key]  # of the value before: it would keep its bytes alive

    def remove(self, key: str) -> bool:
        self._refs.pop(key, None)
        return super().remove(key)

    def clear(self) -> None:
        self._refs.clear()
        super().clear()
