"""What a disk of a cluster notes of the coordinators that it obeys."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memories.actors.disk import Disk
from tests.support.small_disk import fill, small_disk
from tests.unit.tiers.cold.plain_blobs import largest_file


def noted(disk: Disk) -> int:
    return int(json.loads((disk.folder / "member.json").read_text())["epoch"])


def test_an_epoch_is_noted_although_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20):
        disk = Disk(tmp_path / "disk")
        fill(disk.folder)
        disk.raise_epoch(7)
        assert noted(disk) == 7


def test_an_epoch_that_could_not_be_noted_is_noted_when_it_comes_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    disk.raise_epoch(7)
    with largest_file(3), pytest.raises(OSError, match="too large"):
        disk.raise_epoch(8)
    assert noted(disk) == 7
    disk.raise_epoch(8)
    assert noted(disk) == 8


def test_of_epochs_noted_at_the_same_time_the_newest_stays(tmp_path: Path) -> None:
    disk = Disk(tmp_path)
    for turn in range(0, 400, 8):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(disk.raise_epoch, range(turn + 8, turn, -1)))
        assert noted(disk) == disk.epoch == turn + 8
