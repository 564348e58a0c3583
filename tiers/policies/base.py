"""`EvictionPolicy`: which keys of one tier are worth least."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ...errors import InvalidValue


class EvictionPolicy(ABC):
    """The order in which keys leave a tier under pressure.

    Events in, keys out: `on_store`, `on_access` and `on_remove` tell what happened, `victims` names the
    keys that are worth least. A key that was named is *leaving* and is not named again, until `on_remove`
    says that it went, `keep` that it stayed after all, or an access that it is in use. So several moves
    can be under way at once, and one that fails loses nothing.

    Pure: no clock, no threads, no I/O; ``now_s`` is the caller's. Every event is O(1) amortised, except
    where a policy says otherwise. Events for unknown keys are ignored. Not thread-safe.
    """

    def __init__(self, capacity_bytes: int) -> None:
        if capacity_bytes < 0:
            raise InvalidValue(f"a capacity cannot be negative, and is {capacity_bytes}")
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        """Bytes of all keys, those that are leaving included."""
        self.leaving_bytes = 0
        self._sizes: dict[str, int] = {}
        self._leaving: set[str] = set()
        self._kept: dict[str, None] = {}  # their move failed: out of the order, first to be named

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, key: object) -> bool:
        return key in self._sizes

    def size_of(self, key: str) -> int:
        """The bytes of a key; KeyError for an unknown one."""
        return self._sizes[key]

    def is_leaving(self, key: str) -> bool:
        """Whether `victims` named the key and nothing has been heard since."""
        return key in self._leaving

    def admits(self, nbytes: int) -> bool:
        """Whether a key of this size should enter of its own accord, rather than stay in the tier below.

        Advice, not a limit: what was stored here on purpose is here.
        """
        return nbytes <= self.capacity_bytes

    def on_store(self, key: str, nbytes: int, now_s: float = 0.0) -> None:
        """The key came, or was written again (which counts as an access)."""
        if nbytes < 0:
            raise InvalidValue(f"key {key!r} cannot have {nbytes} bytes")
        old = self._sizes.get(key)
        if old is None:
            self._sizes[key] = nbytes
            self.used_bytes += nbytes
            self._enter(key, nbytes)
            return
        self._put_back(key, old)
        if old != nbytes:
            self._sizes[key] = nbytes
            self.used_bytes += nbytes - old
            self._resize(key, old, nbytes)
        self._use(key, nbytes)

    def on_access(self, key: str, now_s: float = 0.0) -> None:
        """The key was read."""
        nbytes = self._sizes.get(key)
        if nbytes is None:
            return
        self._put_back(key, nbytes)
        self._use(key, nbytes)

    def on_remove(self, key: str) -> None:
        """The key is gone from this tier: moved, deleted or expired."""
        nbytes = self._sizes.get(key)
        if nbytes is None:
            return
        evicted = key in self._leaving
        if evicted:
            self._stop_leaving(key)
        elif key in self._kept:
            del self._kept[key]
        else:
            self._pull(key, nbytes)
        self._left(key, nbytes, evicted=evicted)
        del self._sizes[key]
        self.used_bytes -= nbytes

    def keep(self, key: str) -> None:
        """A leaving key stays, because its move failed; it is the first to be named again."""
        if key in self._leaving:
            self._stop_leaving(key)
            self._kept[key] = None

    def victims(self, bytes_needed: int, now_s: float = 0.0) -> list[str]:
        """The least valuable keys whose bytes together are at least ``bytes_needed``, or all there are.

        They are leaving from now on.
        """
        named: list[str] = []
        found = 0
        while found < bytes_needed:
            key = self._kept.popitem()[0] if self._kept else self._pop()
            if key is None:
                break
            self._start_leaving(key)
            named.append(key)
            found += self._sizes[key]
        return named

    def take(self, key: str) -> None:
        """Let a key leave that somebody else has chosen, as if `victims` had named it."""
        if key not in self._sizes or key in self._leaving:
            return
        if key in self._kept:
            del self._kept[key]
        else:
            self._pull(key, self._sizes[key])
        self._start_leaving(key)

    def _start_leaving(self, key: str) -> None:
        self._leaving.add(key)
        self.leaving_bytes += self._sizes[key]

    def _put_back(self, key: str, nbytes: int) -> None:
        """A key that is in use is neither leaving nor the next to leave."""
        if key in self._leaving:
            self._stop_leaving(key)
        elif key in self._kept:
            del self._kept[key]
        else:
            return
        self._return(key, nbytes)

    def _stop_leaving(self, key: str) -> None:
        self._leaving.discard(key)
        self.leaving_bytes -= self._sizes[key]

    @abstractmethod
    def _enter(self, key: str, nbytes: int) -> None:
        """Take a new key into the order."""

    @abstractmethod
    def _use(self, key: str, nbytes: int) -> None:
        """A key of the order was used."""

    @abstractmethod
    def _pop(self) -> str | None:
        """Take the least valuable key out of the order; None if there is none."""

    @abstractmethod
    def _pull(self, key: str, nbytes: int) -> None:
        """Take this key out of the order."""

    @abstractmethod
    def _return(self, key: str, nbytes: int) -> None:
        """Put a key that was popped or pulled back into the order; a use of it follows."""

    def _left(self, key: str, nbytes: int, *, evicted: bool) -> None:  # noqa: B027 - some remember nothing
        """A popped or pulled key is gone for good; ``evicted``: because it was worth little."""

    def _resize(self, key: str, before: int, after: int) -> None:  # noqa: B027 - most ignore sizes
        """A key of the order has another size now."""
