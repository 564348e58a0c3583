"""Memory of the machine, and of the container that limits it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from memories.tiers.machine import ram_bytes, ram_used_bytes


def container(folder: Path, **files: str) -> Path:
    """A folder as Linux shows it in a container."""
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_text(content)
    return folder


STAT = "anon 9000000\nfile 25000000\ninactive_file 20000000\nactive_file 5000000\n"


def test_a_container_has_what_it_may_use_and_uses_what_it_cannot_give_back(tmp_path: Path) -> None:
    cgroup = container(tmp_path, memory_max="64000000\n", memory_current="30000000\n", memory_stat=STAT)
    assert (ram_used_bytes(cgroup), ram_bytes(cgroup)) == (10_000_000, 64_000_000)


def test_it_uses_neither_less_than_nothing_nor_more_than_its_limit(tmp_path: Path) -> None:
    cgroup = container(tmp_path, memory_max="64000000", memory_current="90000000", memory_stat=STAT)
    assert ram_used_bytes(cgroup) == 64_000_000
    container(tmp_path, memory_current="5000000")
    assert ram_used_bytes(cgroup) == 0


@pytest.mark.parametrize("limit", ["max\n", str(2**62), None])
def test_without_a_limit_it_is_the_machine_that_counts(tmp_path: Path, limit: str | None) -> None:
    cgroup = container(tmp_path, memory_current="30000000", memory_stat=STAT)
    if limit is not None:
        container(tmp_path, memory_max=limit)
    memory = psutil.virtual_memory()
    assert ram_bytes(cgroup) == memory.total
    assert ram_used_bytes(cgroup) == pytest.approx(memory.total - memory.available, abs=0.2 * memory.total)
    assert ram_used_bytes(cgroup) > 30_000_000


@pytest.mark.parametrize("stat", [None, "", "anon 5\n", "inactive_file many\n", "one word\n\n"])
def test_a_container_that_does_not_say_is_at_most_full(tmp_path: Path, stat: str | None) -> None:
    cgroup = container(tmp_path, memory_max="64000000", memory_current="30000000")
    if stat is not None:
        container(tmp_path, memory_stat=stat)
    assert 0 < ram_used_bytes(cgroup) <= 64_000_000
