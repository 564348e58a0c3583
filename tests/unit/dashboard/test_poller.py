"""One snapshot a second while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from memories.actors.status import Snapshot
from memories.dashboard import poller as module
from memories.dashboard.poller import Poller
from memories.dashboard.source import KeyList

DEADLINE_S = 10.0


class Answering:
    """A cluster that is well."""

    name = "cluster x"

    def __init__(self) -> None:
        self.asked = 0

    def snapshot(self) -> Snapshot:
        self.asked += 1
        return Snapshot(cluster="x", taken_s=time.time())

    def keys(self, prefix: str, metadata_filter: Mapping[str, Any], limit: int) -> KeyList:
        return KeyList((), 0)

    def close(self) -> None:
        pass


def wait_until(met: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + DEADLINE_S
    while not met():
        assert time.monotonic() < ends_s, f"this did not come about within {DEADLINE_S:g} s"
        time.sleep(0.002)


def test_who_looks_after_a_pause_sees_what_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_AFTER_S", 0.05)
    monkeypatch.setattr(module, "POLL_S", 0.01)
    source = Answering()
    poller = Poller(source)
    try:
        first = poller.look()
        assert first is not None
        assert first.polls >= 1
        for _ in range(3):
            wait_until(lambda: not poller._wake.is_set())  # it has gone to sleep
            asked = source.asked
            view = poller.look()
            assert view is not None
            assert (view.polls > asked, view.problem) == (True, "")
    finally:
        poller.close()
