"""`Capture`: the values of a moment, while they go on changing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator

from ..errors import KeyNotFound
from .blobs import Blob


class Capture:
    """Copies values out one by one; whoever is about to change one that is not out yet copies it first.

    So what comes out is what was there when the capture began, and nothing is held in memory for it. A
    failure to copy ends the capture, not the change: `copy_all` raises it. Thread-safe.
    """

    def __init__(self, read: Callable[[str], Blob], write: Callable[[Blob], None]) -> None:
        self._read = read
        self._write = write
        self._pending: dict[str, None] = {}
        self._error: BaseException | None = None
        self._lock = threading.RLock()

    def begin(self, keys: Iterable[str]) -> int:
        """Take note of what there is. Called while nothing changes; how many keys there are."""
        self._pending = dict.fromkeys(keys)
        return len(self._pending)

    def before_change(self, keys: Collection[str]) -> None:
        """Copy out those of the keys that are still to be copied."""
        for key in keys:
            if key in self._pending:
                with self._lock:
                    self._copy(key)

    def copy_all(self) -> None:
        """Copy out everything that is left. Raises what went wrong here or in `before_change`."""
        for key in self._left():
            with self._lock:
                self._copy(key)
        if self._error is not None:
            raise self._error

    def _left(self) -> Iterator[str]:
        while True:
            with self._lock:
                key = next(iter(self._pending), None)
            if key is None:
                return
            yield key

    def _copy(self, key: str) -> None:
        if key not in self._pending:
            return
        try:
            self._write(self._read(key))
        except KeyNotFound:
            pass  # it had expired
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the capture
            self._error = error
            self._pending.clear()
            return
        del self._pending[key]
