"""Unit tests are fast and alone: they start no Ray and leave no thread behind."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from typing import Any

import pytest

THREAD_GRACE_S = 5.0


class _NoRay(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname == "ray":
            raise ImportError("unit tests must not import Ray: the pure core does not know it")


@pytest.fixture(autouse=True)
def _no_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if "ray" in sys.modules:  # a cluster test ran before us in this process
        monkeypatch.setattr(sys.modules["ray"], "init", _refuse_init)
        yield
        return
    finder = _NoRay()
    sys.meta_path.insert(0, finder)
    yield
    sys.meta_path.remove(finder)


def _refuse_init(*_: Any, **__: Any) -> None:
    raise RuntimeError("unit tests must not start Ray")


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + THREAD_GRACE_S
    while leaked := [t for t in threading.enumerate() if t not in before and not _is_runtime_thread(t)]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left behind: {[t.name for t in leaked]}")
        leaked[0].join(timeout=0.05)


def _is_runtime_thread(thread: threading.Thread) -> bool:
    """Threads that an interpreter or a library keeps for good once it was used."""
    return thread.name.startswith(("asyncio_", "pymp-", "tqdm", "Dummy-", "obstore", "grpc", "zarr_io"))
