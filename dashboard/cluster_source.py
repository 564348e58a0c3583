"""`ClusterSource`: a cluster, looked at through a process of its own (`feeder`)."""

from __future__ import annotations

import contextlib
import pickle
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from ..actors.names import NAMESPACE
from ..actors.status import Snapshot
from ..errors import DeadlineExceeded, Unavailable
from .source import KeyList, NothingRuns

ANSWER_TIMEOUT_S = 30.0
"""After so long without an answer the feeder is ended, and a new one started at the next request."""

END_TIMEOUT_S = 2.0


class ClusterSource:
    """Asks one request at a time. Thread-safe."""

    def __init__(self, address: str | None = None, name: str = "default", namespace: str = NAMESPACE) -> None:
        # -P: a file of the current folder, such as a memories.py, must not be taken for ours
        module = ("-P", "-m", "memories.dashboard.feeder")
        self._command = [sys.executable, *module, address or "", name, namespace]
        self._name = name
        self._lock = threading.Lock()
        self._feeder: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"cluster {self._name}"

    def snapshot(self) -> Snapshot:
        snapshot: Snapshot = self._ask("snapshot")
        return snapshot

    def keys(self, prefix: str, metadata_filter: Mapping[str, Any], limit: int) -> KeyList:
        found: KeyList = self._ask("keys", prefix, dict(metadata_filter), limit)
        return found

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, *request: Any) -> Any:
        with self._lock:
            try:
                state, value = self._exchange(request)
            except (EOFError, OSError, pickle.UnpicklingError) as error:
                self._end()
                raise Unavailable(
                    "the connection to the cluster has ended; its node may be down. It is tried again"
                ) from error
        if state == "ok":
            return value
        raise (NothingRuns if state == "nothing" else Unavailable)(value)

    def _exchange(self, request: tuple[Any, ...]) -> tuple[str, Any]:
        if self._feeder is None:
            self._feeder = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        feeder = self._feeder
        assert feeder.stdin is not None
        assert feeder.stdout is not None
        pickle.dump(request, feeder.stdin)
        feeder.stdin.flush()
        ready, _, _ = select.select([feeder.stdout], [], [], ANSWER_TIMEOUT_S)
        if not ready:
            self._end()
            raise DeadlineExceeded(f"the cluster was not heard for {ANSWER_TIMEOUT_S:g} s; it is tried again")
        answer: tuple[str, Any] = pickle.load(feeder.stdout)
        return answer

    def _end(self) -> None:
        if self._feeder is None:
            return
        feeder, self._feeder = self._feeder, None
        for pipe in (feeder.stdin, feeder.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            feeder.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            feeder.kill()
            feeder.wait()
