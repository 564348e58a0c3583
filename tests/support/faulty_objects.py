"""`FaultyObjects`: a real object store whose requests fail where a test says, before or after they act."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import TypeVar

from memories.tiers.glacier.objects import Attempt, Condition, Fetched, Listed, ObjectStore, Part, PartSource

T = TypeVar("T")


class FaultyObjects(ObjectStore):
    """Passes every request on to another store and calls hooks around it.

    `before(operation, name)` and `after(operation, name)` may raise: before, the request never arrived;
    after, it was carried out and only the reply was lost.
    """

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner
        self.address = inner.address
        self.lists_in_order = inner.lists_in_order
        self.before: Callable[[str, str], None] = _nothing
        self.after: Callable[[str, str], None] = _nothing
        self.requests: list[tuple[str, str]] = []

    def _around(self, operation: str, name: str, action: Callable[[], T]) -> T:
        self.requests.append((operation, name))
        self.before(operation, name)
        result = action()
        self.after(operation, name)
        return result

    def read(self, name: str, length: int) -> Fetched:
        return self._around("read", name, lambda: self.inner.read(name, length))

    def read_into(self, name: str, start: int, into: memoryview) -> None:
        self._around("read_into", name, lambda: self.inner.read_into(name, start, into))

    def put(self, name: str, part: Part, condition: Condition | None) -> str:
        return self._around("put", name, lambda: self.inner.put(name, part, condition))

    def upload(
        self, name: str, parts: PartSource, *, workers: Executor, window: int, attempt: Attempt
    ) -> None:
        def upload() -> None:
            self.inner.upload(name, parts, workers=workers, window=window, attempt=attempt)

        attempt(lambda: self._around("upload", name, upload), f"uploading {name}")

    def delete(self, name: str) -> None:
        self._around("delete", name, lambda: self.inner.delete(name))

    def delete_if(self, name: str, tag: str) -> None:
        self._around("delete", name, lambda: self.inner.delete_if(name, tag))

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        for listed in self.inner.list(prefix, after):
            self._around("list", listed.name, lambda: None)
            yield listed

    def abandon_uploads(self, prefix: str, *, before_s: float) -> int:
        return self.inner.abandon_uploads(prefix, before_s=before_s)

    def close(self) -> None:
        self.inner.close()


def _nothing(operation: str, name: str) -> None:
    return None
