"""Redis on loopback and diskcache, each in a virtual environment of its own, for the benchmark of tiers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .bars import Report
from .peers import peer_python

REDIS_CLIENT = "redis==5.2.1"
DISKCACHE = "diskcache==5.6.3"

PEER = """
import json, sys, time
import numpy as np

kind, place = sys.argv[1:3]
if kind == "redis":
    import redis
    client = redis.Redis(host="127.0.0.1", port=int(place))
    put, get = (lambda k, v: client.set(k, v)), client.get
else:
    import diskcache
    client = diskcache.Cache(place, size_limit=1 << 40)
    put, get = client.__setitem__, client.__getitem__
array = None
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "take":
        array = np.load(request["path"])
        plain = memoryview(array).cast("B") if kind == "redis" else array.tobytes()
        value = array if request["as_array"] else plain
        answer = {}
    elif request["do"] == "put":
        started = time.perf_counter(); put("key", value); answer = {"s": time.perf_counter() - started}
    else:
        started = time.perf_counter()
        found = get("key")
        found = found if request["as_array"] else np.frombuffer(found, array.dtype)
        total = int(found.view(np.uint64).sum()) if request["total"] else None
        answer = {"s": time.perf_counter() - started}
        expected = int(array.view(np.uint64).sum())
        answer["right"] = bool(np.array_equal(found, array)) and total in (None, expected)
        del found
    print(json.dumps(answer), flush=True)
"""


class Peer:
    """A package in a process of its own, which measures itself."""

    def __init__(self, kind: str, place: str, requirement: str, *, as_array: bool) -> None:
        python = peer_python(kind, requirement)
        self._as_array = as_array
        self._process = subprocess.Popen(
            [str(python), "-c", PEER, kind, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def take(self, path: Path) -> None:
        """Load the array that it is to store."""
        self._ask(do="take", path=str(path))

    def put(self) -> float:
        return float(self._ask(do="put")["s"])

    def get(self, report: Report, *, total: bool = False) -> float:
        answer = self._ask(do="get", total=total)
        if not answer["right"]:
            report.fail("a peer returned other bytes than were stored")
        return float(answer["s"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**request, "as_array": self._as_array}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """A Redis of our own on loopback, which writes nothing to disk; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise RuntimeError("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            ends_s = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > ends_s:
                        raise
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(20)
