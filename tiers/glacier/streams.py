"""Values that are written and read piece by piece, in memory that does not grow with them."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from xxhash import xxh3_64

from ...errors import Closed, MemoriesError
from .layout import BLOCK_BYTES, Blocks

Upload = Callable[[Blocks], Callable[[int, int], None]]
"""Uploads blocks as they come, and gives what makes them visible: a function of length and checksum."""


class BlobWriter:
    """What is written to it becomes one value when it is closed, and nothing does before.

    Use it as a context manager: an exception inside abandons the value, and the key keeps what it had.
    A short value is kept back and stored at the end; a long one is uploaded in parts meanwhile. Not
    thread-safe.
    """

    def __init__(self, upload: Upload, store: Callable[[memoryview], None], part_bytes: int) -> None:
        self._upload = upload
        self._store = store
        self._part_bytes = -(-part_bytes // BLOCK_BYTES) * BLOCK_BYTES
        self._part = bytearray()
        self._parts: queue.Queue[memoryview | None] = queue.Queue(1)
        self._digest = xxh3_64()
        self._nbytes = 0
        self._pool: ThreadPoolExecutor | None = None
        self._uploading: Future[Callable[[int, int], None]] | None = None
        self._taken = False
        self._abandoned = False
        self._closed = False

    def write(self, data: Any, /) -> int:
        """Append bytes. Raises what the upload has met with, if it failed meanwhile."""
        if self._closed:
            raise Closed("this writer was closed: open another one")
        view = memoryview(data).cast("B")
        self._digest.update(view)
        self._nbytes += view.nbytes
        rest = view
        while rest.nbytes:
            room = self._part_bytes - len(self._part)
            self._part += rest[:room]
            rest = rest[room:]
            if len(self._part) == self._part_bytes:
                self._send()
        return view.nbytes

    def close(self) -> None:
        """Store what was written. Closing again is fine."""
        if self._closed:
            return
        self._closed = True
        if self._uploading is None:
            self._store(memoryview(bytes(self._part)))
            return
        try:
            if self._part:
                self._send()
            self._hand_over(None)
            commit = self._uploading.result()
        finally:
            self._end()
        commit(self._nbytes, self._digest.intdigest())

    def abandon(self) -> None:
        """Forget what was written; nothing of it is or becomes visible."""
        if not self._closed:
            self._closed = True
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def _send(self) -> None:
        if self._uploading is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="glacier-stream")
            self._uploading = self._pool.submit(self._upload, self._blocks)
        part, self._part = memoryview(self._part), bytearray()
        self._hand_over(part)

    def _hand_over(self, part: memoryview | None) -> None:
        assert self._uploading is not None
        while True:
            try:
                self._parts.put(part, timeout=0.1)
            except queue.Full:
                if self._uploading.done():  # it failed: nobody takes parts any more
                    self._uploading.result()
                    raise MemoriesError("the upload ended before its last part") from None
            else:
                return

    def _end(self) -> None:
        self._abandoned = True
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _blocks(self) -> Iterator[list[memoryview]]:
        """The blocks, taken from the parts as they come; once only, for what was sent is not kept."""
        if self._taken:
            raise MemoriesError(
                "the upload of a stream failed and cannot begin again, because what was written is gone: "
                "write it again"
            )
        self._taken = True
        while True:
            try:
                part = self._parts.get(timeout=0.1)
            except queue.Empty:
                if self._abandoned:
                    raise MemoriesError("the writer was abandoned") from None
                continue
            if part is None:
                return
            for start in range(0, part.nbytes, BLOCK_BYTES):
                yield [part[start : start + BLOCK_BYTES]]


class BlobReader(io.RawIOBase):
    """A value as a file that is read from start to end, a window at a time."""

    def __init__(self, nbytes: int, fetch: Callable[[int, int], memoryview], window_bytes: int) -> None:
        self._nbytes = nbytes
        self._fetch = fetch
        self._window_bytes = window_bytes
        self._window = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        """The next bytes, at least one unless the value is at its end. Raises `CorruptData`."""
        if not self._window.nbytes and self._position < self._nbytes:
            end = min(self._position + self._window_bytes, self._nbytes)
            self._window = self._fetch(self._position, end)
        target = memoryview(into).cast("B")
        count = min(target.nbytes, self._window.nbytes)
        target[:count] = self._window[:count]
        self._window = self._window[count:]
        self._position += count
        return count

    def tell(self) -> int:
        return self._position
