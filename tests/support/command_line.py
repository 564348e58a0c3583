"""`memories` as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MEMORIES = Path(sys.executable).parent / "memories"
TIMEOUT_S = 120


def memories(
    *arguments: str, stdin: bytes = b"", address: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output as text. `address` is that of the Ray to look in."""
    done = memories_in_bytes(*arguments, stdin=stdin, address=address, **environment)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
    )


def memories_in_bytes(
    *arguments: str, stdin: bytes = b"", address: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """The same, with the output as it is."""
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"NO_COLOR": "1"} | environment
    if address:
        env["RAY_ADDRESS"] = address
    return subprocess.run(
        [str(MEMORIES), *arguments], input=stdin, capture_output=True, env=env, timeout=TIMEOUT_S
    )


def ok(done: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that went well."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    """The document that a command wrote: all of its output, and nothing else."""
    return json.loads(ok(done))
