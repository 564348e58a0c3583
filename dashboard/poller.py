"""`Poller`: one snapshot a second for the whole server, however many tabs are open; none while none is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..actors.status import Snapshot
from ..errors import MemoriesError
from .course import Course
from .local_source import LocalSource, plugin_statuses
from .source import KeyList, NothingRuns, PluginStatus, SnapshotSource

log = logging.getLogger(__name__)

POLL_S = 1.0
IDLE_AFTER_S = 6.0
FIRST_LOOK_S = 5.0
"""So long the first look, also after a pause, waits for a snapshot, rather than showing nothing or what is
old."""
NOT_SERVING = ("idle", "claiming", "rebuilding", "stopped")


@dataclass(frozen=True, slots=True)
class View:
    """What there is to draw: the last snapshot that was whole, and how old it is."""

    snapshot: Snapshot
    heard_s: float
    """When it came, by the wall clock."""
    problem: str = ""
    """Why there is none newer; empty where it is current."""
    source: str = ""
    local: bool = False
    plugins: tuple[PluginStatus, ...] = ()
    polls: int = 0
    """Snapshots that were asked for since the server started."""

    @property
    def age_s(self) -> float:
        return max(0.0, time.time() - self.heard_s)


class Poller:
    """Asks the source in a thread of its own, while somebody looks. Thread-safe.

    Where the source has nothing to show (no Ray, no cluster), this process is shown in its place, until
    there is. A coordinator that has just started knows nothing yet: the last whole picture stays.
    """

    def __init__(self, source: SnapshotSource | None) -> None:
        self._source = source
        self._local = LocalSource()
        self._lock = threading.Lock()
        self._course = Course()
        self._local_course = Course()
        self._view: View | None = None
        self._polls = 0
        self._looked_s = time.monotonic()
        self._wake = threading.Event()
        self._fresh = threading.Event()  # set by the first poll, and again by the first after a pause
        self._stopped = False
        self._thread = threading.Thread(target=self._poll_forever, name="memories-dashboard", daemon=True)
        self._thread.start()

    def look(self) -> View | None:
        """The newest view; None where none has come yet. Keeps the poller going; where it was idle, waits
        for its next poll."""
        self._looked_s = time.monotonic()
        self._wake.set()
        self._fresh.wait(FIRST_LOOK_S)
        return self._view

    def series(self, prefix: str) -> list[tuple[float, str, float]]:
        """Figures over time, of what the view shows; see `Course.series`."""
        with self._lock:
            course = self._local_course if self._view is not None and self._view.local else self._course
            return course.series(prefix)

    def keys(self, prefix: str, metadata_filter: Mapping[str, Any], limit: int) -> KeyList:
        """Ask the source for keys, at once."""
        source = self._local if self._source is None else self._source
        return source.keys(prefix, metadata_filter, limit)

    def close(self) -> None:
        """End the thread and the source."""
        self._stopped = True
        self._wake.set()
        self._thread.join(timeout=5)
        if self._source is not None:
            self._source.close()

    def _poll_forever(self) -> None:
        while not self._stopped:
            began_s = time.monotonic()
            if began_s - self._looked_s > IDLE_AFTER_S:
                self._fresh.clear()
                self._wake.clear()
                if time.monotonic() - self._looked_s > IDLE_AFTER_S:
                    self._wake.wait()
                continue
            try:
                self._poll()
            except Exception:
                log.exception("the dashboard could not look; it tries again")
            self._fresh.set()
            time.sleep(max(0.0, began_s + POLL_S - time.monotonic()))

    def _poll(self) -> None:
        self._polls += 1
        if self._source is None:
            self._show_local("")
            return
        try:
            snapshot = self._source.snapshot()
        except NothingRuns as error:
            if self._view is None or self._view.local:
                self._show_local(str(error))
            else:
                self._show_old(str(error))
        except MemoriesError as error:
            self._show_old(str(error))
        else:
            if snapshot.phase in NOT_SERVING and self._view is not None and not self._view.local:
                self._show_old(f"the coordinator has started anew and is {snapshot.phase}")
                return
            with self._lock:
                self._course.add(snapshot)
                self._view = View(snapshot, time.time(), source=self._source.name, polls=self._polls)

    def _show_old(self, problem: str) -> None:
        view = self._view
        if view is None or view.local:
            self._show_local(problem)
        else:
            self._view = replace(view, problem=problem, polls=self._polls)

    def _show_local(self, problem: str) -> None:
        snapshot = self._local.snapshot()
        with self._lock:
            self._local_course.add(snapshot)
            self._view = View(
                snapshot, time.time(), problem, self._local.name, True, plugin_statuses(), self._polls
            )
