"""A process that forks writers of a cold memory, to be killed one after the other.

``python -m tests.support.cold_victim FOLDER JOURNAL`` reads a seed per line, forks a writer for it, and
prints the writer's number. A writer notes in the journal what it is about to do, does it, and notes that
it was acknowledged; the journal survives a SIGKILL because it is written with one write(2) a line.
Forking spares each writer the imports: two hundred of them take seconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path

from memories.tiers.cold import compaction, log
from memories.tiers.cold_memory import ColdMemory

KEYS = [f"key {number}" for number in range(24)] + ["../../etc/passwd", "new\nline"]
SIZES = [0, 10, 900, 5000, 60_000, 70_000, 200_000]


def content(token: int, size: int) -> bytes:
    """The value that a token and a size stand for."""
    return random.Random(token).randbytes(size)


def open_memory(folder: Path) -> ColdMemory:
    """A cold memory whose segments are small, so that they are rotated and compacted all the time."""
    log.SEGMENT_BYTES = 400_000
    compaction.LEAST_DEAD_BYTES = 200_000
    return ColdMemory(1, folder)


def work(folder: Path, journal: Path, seed: int) -> None:
    """Store, overwrite and delete until killed."""
    generator = random.Random(seed)
    notes = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(*fields: object) -> None:
        os.write(notes, json.dumps(fields).encode() + b"\n")

    memory = open_memory(folder)
    note("opened")
    while True:
        keys = generator.sample(KEYS, generator.choice([1, 1, 1, 5]))
        kind = generator.choice(["store", "store", "store", "delete", "pin"])
        if kind == "store":
            changes = {key: (generator.getrandbits(40), generator.choice(SIZES)) for key in keys}
            note("begin", changes)
            values = {key: content(*change) for key, change in changes.items()}
            if len(values) == 1:
                ((key, value),) = values.items()
                memory.store(key, value)
            else:
                memory.store_many(values)
        elif kind == "delete":
            note("begin", dict.fromkeys(keys))
            memory.delete_many(keys)
        else:
            note("begin", {})
            for key in keys:
                if memory.exists(key):
                    memory.pin(key)
                    memory.unpin(key)
        note("acknowledged")


def main(folder: Path, journal: Path) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            try:
                work(folder, journal, int(line))
            finally:
                os._exit(3)  # only an error ends the work
        print(child, flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
