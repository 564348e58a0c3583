"""Reverb's server and client, with the rows of `benchmarks.replay_cluster`.

Run by it with the interpreter of Reverb's environment. Needs numpy, dm-reverb and tensorflow only. Server
and client share this process, which is the quickest way to use them: nothing crosses between processes.
"""

from __future__ import annotations

import time

import numpy as np
import reverb

from benchmarks.served import serve

ROWS, BATCH = 100_000, 256


def main() -> None:
    rng = np.random.default_rng(0)
    rows = [
        [
            rng.random(17, np.float32),
            rng.random(6, np.float32),
            np.float32(rng.random()),
            rng.random(17, np.float32),
            np.bool_(rng.random() < 0.1),
        ]
        for _ in range(2_000)
    ]
    server = reverb.Server(
        [
            reverb.Table(
                "rows",
                sampler=reverb.selectors.Prioritized(0.6),
                remover=reverb.selectors.Fifo(),
                max_size=ROWS,
                rate_limiter=reverb.rate_limiters.MinSize(1),
            )
        ]
    )
    client = reverb.Client(f"localhost:{server.port}")

    def insert(count: int) -> float:
        started_s = time.perf_counter()
        with client.trajectory_writer(num_keep_alive_refs=1) as writer:
            for i in range(count):
                writer.append(rows[i % len(rows)])
                history = writer.history
                writer.create_item("rows", 1.0, [column[-1:] for column in history])
            writer.flush()
        return time.perf_counter() - started_s

    def sample(calls: int) -> float:
        started_s = time.perf_counter()
        for _ in range(calls):
            batch = list(client.sample("rows", num_samples=BATCH))
        took_s = time.perf_counter() - started_s
        assert len(batch) == BATCH
        return took_s

    insert(ROWS // 5)
    keys = np.array([item[0].info.key for item in client.sample("rows", 4 * BATCH)], np.uint64)

    def update(calls: int) -> float:
        updates = [
            dict(zip(rng.choice(keys, BATCH).tolist(), rng.random(BATCH).tolist(), strict=True))
            for _ in range(calls)
        ]
        started_s = time.perf_counter()
        for some in updates:
            client.mutate_priorities("rows", updates=some)
        return time.perf_counter() - started_s

    serve({"insert": insert, "sample": sample, "update": update})


if __name__ == "__main__":
    main()
