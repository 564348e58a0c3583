"""What Ray's worker table says about processes that have ended."""

from __future__ import annotations

from typing import Any

from memories.cluster_doctor import OUT_OF_MEMORY, count_deaths


def row(alive: bool, exit_type: str | None) -> bytes:
    from ray.core.generated import common_pb2, gcs_pb2

    worker: Any = gcs_pb2.WorkerTableData()
    worker.is_alive = alive
    if exit_type is not None:
        worker.exit_type = common_pb2.WorkerExitType.Value(exit_type)
    return bytes(worker.SerializeToString())


def test_processes_that_the_memory_monitor_has_ended_are_counted() -> None:
    table = [
        row(True, None),
        row(False, OUT_OF_MEMORY),
        row(False, OUT_OF_MEMORY),
        row(False, "SYSTEM_ERROR"),
    ]
    deaths = count_deaths(table)
    assert deaths == {OUT_OF_MEMORY: 2, "SYSTEM_ERROR": 1}
    assert count_deaths([])[OUT_OF_MEMORY] == 0
