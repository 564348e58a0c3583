"""`ObjectStore`: what the glacier tier needs of a provider, and nothing else.

Implementations translate every failure of their client library into an error of ours; `Unavailable`
means that the same call may succeed a moment later, and is what `Retry` repeats. None of them retries
by itself, so that one deadline governs. All are thread-safe.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ...errors import ConflictingWrite

T = TypeVar("T")

Part = list[memoryview]
"""The bytes of an object or of one part of it, as views that are joined in order."""

PartSource = Callable[[], Iterator[Part]]
"""Starts the parts from the first one; called again when a provider must begin an upload anew."""


class PartReader(io.RawIOBase):
    """A part as a file, for clients that read what they send: views of it, never a copy."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._size = sum(view.nbytes for view in part)
        self._position = 0

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> Any:
        """The next bytes, as a view; fewer than `size` where a view of the part ends."""
        start = 0
        for view in self._part:
            within = self._position - start
            if within < view.nbytes:
                piece = view[within:] if size is None or size < 0 else view[within : within + size]
                self._position += piece.nbytes
                return piece
            start += view.nbytes
        return b""


class ObjectGone(LookupError):
    """The object does not exist. Never leaves the glacier package."""


class Attempt(Protocol):
    """Calls a function until it succeeds or retrying is over: see `Retry.call`."""

    def __call__(self, action: Callable[[], T], what: str) -> T: ...


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold for a write: the object has this tag, or (None) there is no object."""

    tag: str | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """The start of an object, with the tag and size of the whole."""

    data: memoryview
    tag: str
    size: int


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing; times are seconds since the Unix epoch."""

    name: str
    size: int
    modified_s: float


class ObjectStore(ABC):
    """Whole objects by name in one bucket, container or folder.

    `put` is atomic and, with a condition, a compare-and-set. `upload` is for large objects under names
    that nobody else uses: parts go in parallel where the provider can, and the object appears only
    when all of them have arrived.
    """

    address: str
    """Where the objects are, for messages; never with a secret in it."""

    lists_in_order = True

    @abstractmethod
    def read(self, name: str, length: int) -> Fetched:
        """Up to `length` bytes from the start. Raises `ObjectGone`."""

    @abstractmethod
    def read_into(self, name: str, start: int, into: memoryview) -> None:
        """Fill the view from byte `start` on. Raises `ObjectGone`, `CorruptData` if the object is too short,
        `Unavailable` if only the answer is."""

    @abstractmethod
    def put(self, name: str, part: Part, condition: Condition | None) -> str:
        """Write an object by one request; its tag. Raises `ConflictingWrite` if the condition fails."""

    @abstractmethod
    def upload(
        self, name: str, parts: PartSource, *, workers: Executor, window: int, attempt: Attempt
    ) -> None:
        """Write a large object, at most `window` parts in memory at once. On an error nothing is visible."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove the object; fine if there is none."""

    def delete_if(self, name: str, tag: str) -> None:
        """Remove the object if it has this tag; fine if there is none. Raises `ConflictingWrite`.

        One request where the provider has it. Where it has not, as here, the object is looked at first,
        and a write between the look and the deletion is lost.
        """
        try:
            found = self.read(name, 1)
        except ObjectGone:
            return
        if found.tag != tag:
            raise ConflictingWrite(f"{self.address}: somebody else wrote {name} at the same time")
        self.delete(name)

    def delete_many(self, names: Sequence[str]) -> None:
        """Remove several, in fewer requests where the provider can."""
        for name in names:
            self.delete(name)

    @abstractmethod
    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        """The objects whose names start with the prefix and come later than `after`, a page at a time.

        In the order of names where `lists_in_order`, so that a listing which failed can go on with
        another call. Each page is one request; an error is raised by the iterator.
        """

    def abandon_uploads(self, prefix: str, *, before_s: float) -> int:
        """Drop unfinished uploads that were begun before a time; how many. Zero where there are none."""
        return 0

    def close(self) -> None:  # noqa: B027 - nothing to release is a fine default
        """Release connections."""
