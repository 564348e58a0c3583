"""Two writers and two samplers at once: every sampled row is whole, and priorities stay with their rows."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from memories.replay import PrioritizedReplayBuffer, ReplayBuffer, Schema

FLOATS = 700  # with the image, a row of packed and wide columns
SCHEMA = Schema({"payload": ((FLOATS,), "f4"), "image": ((40, 40), "u1"), "checksum": "i8", "n": "i8"})


def make_rows(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    payload = rng.random((count, FLOATS), np.float32)
    image = rng.integers(0, 256, (count, 40, 40), dtype=np.uint8)
    numbers = rng.integers(0, 1 << 60, count)
    checksums = [checksum(p, i, n) for p, i, n in zip(payload, image, numbers, strict=True)]
    return {"payload": payload, "image": image, "checksum": np.array(checksums), "n": numbers}


def checksum(payload: np.ndarray, image: np.ndarray, number: int) -> int:
    return zlib.crc32(
        int(number).to_bytes(8, "little"), zlib.crc32(image.tobytes(), zlib.crc32(payload.tobytes()))
    )


@pytest.mark.parametrize("seconds", [1.0, pytest.param(30.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("prioritized", [True, False])
def test_sampled_rows_are_whole(prioritized: bool, seconds: float) -> None:
    kind = PrioritizedReplayBuffer if prioritized else ReplayBuffer
    buffer = kind(SCHEMA, 64, seed=0)  # small: slots are overwritten all the time
    buffer.add_batch(make_rows(np.random.default_rng(9), 64))
    stop = time.monotonic() + seconds
    done = {"rows": 0, "checked": 0, "applied": 0, "stale": 0}
    count = threading.Lock()
    failures: list[BaseException] = []

    def write(seed: int) -> None:
        rng = np.random.default_rng(seed)
        blocks = [make_rows(rng, 11) for _ in range(20)]
        turn = 0
        while time.monotonic() < stop:
            block = blocks[turn % len(blocks)]
            if turn % 3:
                buffer.add_batch(block)
            else:
                buffer.add(**{name: column[0] for name, column in block.items()})
            turn += 1
        with count:
            done["rows"] += turn

    def read(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while time.monotonic() < stop:
            batch = buffer.sample(32)
            for row in batch:
                assert checksum(row.payload, row.image, row.n) == row.checksum, "a torn row"
            with count:
                done["checked"] += len(batch)
            if prioritized:
                result = buffer.update_priorities(batch.handles, rng.random(len(batch)) + 0.1)
                with count:
                    done["applied"] += result.applied
                    done["stale"] += result.stale

    def guarded(work: Callable[[int], None], seed: int) -> None:
        try:
            work(seed)
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [
        threading.Thread(target=guarded, args=(work, i)) for i, work in enumerate([write, write, read, read])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=seconds + 30)
    assert not failures
    assert min(done["rows"], done["checked"]) > 20
    if prioritized:
        assert done["applied"] + done["stale"] == done["checked"]
        assert done["stale"] > 0  # rows were overwritten between a sample and its update
