"""What INFO says of this host."""

from __future__ import annotations

import json
import os
import platform
import stat
from pathlib import Path

import psutil
import pytest

from memories.tiers.info import GPU, INFO, find_gpus, parse_nvidia_smi


def test_the_seed_block(capsys: pytest.CaptureFixture[str]) -> None:
    from memory import INFO

    info = INFO()
    print(info.display_info())
    shown = capsys.readouterr().out
    assert platform.node() in shown
    assert f"{psutil.virtual_memory().total / 2**30:.1f} GB" in shown
    assert "Swap" in shown


def test_attributes_agree_with_the_host() -> None:
    info = INFO()
    assert info.total_memory_bytes == psutil.virtual_memory().total
    assert info.total_swap_bytes == psutil.swap_memory().total
    assert 0 < info.used_memory_bytes < info.total_memory_bytes
    assert 0 <= info.memory_percent <= 100
    assert info.usable_cores == len(os.sched_getaffinity(0))
    assert info.python_version == platform.python_version()
    assert platform.node() in repr(info)


def test_as_dict_is_plain() -> None:
    info = INFO()
    assert json.loads(json.dumps(info.as_dict())) == info.as_dict()
    assert info.as_dict()["total_memory_bytes"] == info.total_memory_bytes
    assert isinstance(info.as_dict()["gpus"], list)


def test_refreshing_takes_a_new_look() -> None:
    info = INFO()
    before = info.taken_s
    info.refresh()
    assert info.taken_s > before


ANSWER = "0, NVIDIA H200, 143771, 1024\n1, Some, Card, 8192, 0\n2, NVIDIA H200, [N/A], [N/A]\nNo devices\n"


def test_the_answer_of_the_driver_is_understood() -> None:
    assert parse_nvidia_smi(ANSWER) == (
        GPU(0, "NVIDIA H200", 143771 * 2**20, 1024 * 2**20),
        GPU(1, "Some, Card", 8192 * 2**20, 0),
    )
    assert parse_nvidia_smi("") == ()


@pytest.mark.parametrize(("exit_code", "count"), [(0, 2), (9, 0)])
def test_gpus_are_shown(exit_code: int, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{ANSWER.replace(chr(10), chr(92) + 'n')}'\nexit {exit_code}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert len(find_gpus()) == count
    info = INFO()
    assert len(info.gpus) == count
    if count:
        assert "GPU 0:     NVIDIA H200, 1.0 GB of 140.4 GB used (0.7%)" in info.display_info()
        assert info.as_dict()["gpus"][1]["name"] == "Some, Card"
    else:
        assert "GPU:       none" in info.display_info()
