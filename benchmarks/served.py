"""A peer that runs in a process of its own and does on request what the other side has just done.

So both sides can take turns in one run, whatever interpreter and packages the peer needs. Only the standard
library is imported here: the peer's environment may have nothing of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
READY = "ready"
STOP_TIMEOUT_S = 30.0


def serve(actions: Mapping[str, Callable[[int], float]]) -> None:
    """The peer's side: for each line ``NAME COUNT`` do it and print the seconds it took; ends with stdin."""
    print(READY, flush=True)
    for line in sys.stdin:
        name, count = line.split()
        try:
            answer: dict[str, Any] = {"seconds": actions[name](int(count))}
        except Exception as error:  # noqa: BLE001 - told to the other side, which decides
            answer = {"error": f"{type(error).__name__}: {error}"[:1000]}
        print(json.dumps(answer), flush=True)


class PeerFailed(RuntimeError):
    """The peer ended, or could not do what it was asked for; the message has its last words."""


class Served:
    """Our side: a running peer. Use as a context manager."""

    def __init__(self, python: Path, module: str, *arguments: str) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [str(python), "-m", module, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        while (line := self._read()) != READY:
            if line == "":
                raise PeerFailed(f"{module} ended before it was ready: {self._last_words()}")

    def seconds(self, name: str, count: int) -> float:
        """What `count` calls of an action took there."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {count}\n")
        self._process.stdin.flush()
        while not (line := self._read()).startswith("{"):
            if line == "":
                raise PeerFailed(f"the peer ended in {name}: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerFailed(f"{name}: {answer['error']}")
        return float(answer["seconds"])

    def close(self) -> None:
        """Let the peer end; twice is fine."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def _last_words(self) -> str:
        self._log.seek(0)
        return self._log.read()[-2000:].strip()
