"""`Cuts`: points in time at which somebody is taking a snapshot of everything, while writers go on.

A cut is what the catalog says at a moment when no write is under way. It is had in a few milliseconds:
new writes wait until those that run are answered. After that only writes to keys which the snapshot has
not read yet wait; such keys are read next. So nothing old has to be kept anywhere, and a snapshot slows
writers down without ever refusing them.

Waiting is bounded: a writer that waited for `HOLD_S`, or a snapshot that was not heard of for `LEASE_S`,
releases the cut. That breaks no promise, because whoever reads the cut compares versions: what was
overwritten too early is noticed there, never taken for the old value.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..errors import Unavailable
from .core.coordinator import CoordinatorCore
from .core.model import Kind
from .own_loop import within

BARRIER_S = 5.0
"""So long a cut waits for the writes that are under way; meanwhile no new ones begin."""
HOLD_S = 10.0
LEASE_S = 30.0
POLL_S = 0.002


@dataclass(frozen=True, slots=True)
class Cut:
    """What there was at one moment: `keys[i]`, in version (`epochs[i]`, `sequences[i]`)."""

    id: str
    taken_s: float
    keys: tuple[str, ...]
    epochs: npt.NDArray[np.int64]
    sequences: npt.NDArray[np.int64]
    expires_s: npt.NDArray[np.float64]


@dataclass(slots=True)
class _Open:
    unread: set[str]
    heard_s: float
    urgent: dict[str, None] = field(default_factory=dict)
    progress: asyncio.Event = field(default_factory=asyncio.Event)


class Cuts:
    """Belongs to the coordinator's event loop. Lost at its restart, as if released."""

    def __init__(self, core: CoordinatorCore, clock: Callable[[], float] = time.monotonic) -> None:
        self._core = core
        self._clock = clock
        self._open: dict[str, _Open] = {}
        self._beginning = 0
        self._may_begin = asyncio.Event()
        self._may_begin.set()

    async def wait(self, keys: Sequence[str]) -> None:
        """Before a write to these keys begins. The caller begins it without giving way once more."""
        if not self._open and not self._beginning:
            return
        ends_s = self._clock() + HOLD_S
        while True:
            if self._beginning:
                await self._may_begin.wait()
                continue
            held = [(name, cut) for name, cut in self._open.items() if not cut.unread.isdisjoint(keys)]
            if not held:
                return
            name, cut = held[0]
            now_s = self._clock()
            if now_s >= ends_s or now_s - cut.heard_s >= LEASE_S:
                self.end(name)
                continue
            cut.urgent.update(dict.fromkeys(cut.unread.intersection(keys)))
            try:
                await within(cut.progress.wait(), min(1.0, ends_s - now_s))
            except TimeoutError:
                continue

    async def begin(self) -> Cut:
        """A new cut. Raises `Unavailable` where a write does not end, or not all disks are known."""
        self._beginning += 1
        self._may_begin.clear()
        try:
            ends_s = self._clock() + BARRIER_S
            while not self._core.is_quiet:
                if self._clock() >= ends_s:
                    raise Unavailable(
                        f"a write has been under way for {BARRIER_S:g} s, so there is no moment to take a "
                        "snapshot of: Cluster.status() shows whether a node is missing; try again"
                    )
                await asyncio.sleep(POLL_S)
            return self._begin()
        finally:
            self._beginning -= 1
            if not self._beginning:
                self._may_begin.set()

    def _begin(self) -> Cut:
        core = self._core
        unknown = sorted(member for member, held in core.doubts.dark.items() if held is None)
        if unknown:
            raise Unavailable(
                f"what {unknown} hold is not known at present, so a snapshot would lack it; start their "
                "nodes again, or declare them gone"
            )
        now_s = core.wall_clock()
        there = [
            (key, entry)
            for key, entry in core.catalog.entries.items()
            if entry.kind is Kind.VALUE and (entry.expires_s is None or now_s < entry.expires_s)
        ]
        cut = Cut(
            uuid.uuid4().hex,
            now_s,
            tuple(key for key, _ in there),
            np.fromiter((entry.version.epoch for _, entry in there), np.int64, len(there)),
            np.fromiter((entry.version.sequence for _, entry in there), np.int64, len(there)),
            np.fromiter(
                (np.inf if entry.expires_s is None else entry.expires_s for _, entry in there),
                np.float64,
                len(there),
            ),
        )
        self._open[cut.id] = _Open(set(cut.keys), self._clock())
        return cut

    def read(self, name: str, keys: Sequence[str]) -> tuple[str, ...]:
        """The snapshot has these keys; which ones writers wait for (none, where the cut was released)."""
        cut = self._open.get(name)
        if cut is None:
            return ()
        cut.heard_s = self._clock()
        cut.unread.difference_update(keys)
        for key in keys:
            cut.urgent.pop(key, None)
        cut.progress.set()
        cut.progress = asyncio.Event()
        return tuple(cut.urgent)

    def end(self, name: str) -> None:
        """Release a cut: nobody waits for it any more. Twice is fine."""
        cut = self._open.pop(name, None)
        if cut is not None:
            cut.progress.set()

    def expire(self) -> None:
        """Release cuts whose snapshot has not been heard of."""
        late_s = self._clock() - LEASE_S
        for name in [name for name, cut in self._open.items() if cut.heard_s <= late_s]:
            self.end(name)
