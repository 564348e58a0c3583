"""The replay and plugin blocks of the first seed, as printed, where the seeds are at hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

SEEDS = Path(__file__).parents[4] / "shared" / "seeds"


def blocks(*headings: str) -> list[str]:
    found = sorted(SEEDS.glob("000_*"))
    if not found:
        pytest.skip("the seeds are not beside this checkout")
    text = found[0].read_text()
    code = []
    for heading in headings:
        section = text.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
        code += re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(code) == len(headings)
    return code


def test_replay_and_plugin_blocks_run_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for code in blocks("Plugin System", "Experience Replay", "Prioritized Experience Replay"):
        exec(compile(code, "seed 000", "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    experience = ([0.1, 0.2, 0.3, 0.4], 1, 0.5, [0.2, 0.3, 0.4, 0.5], False)
    assert names["batch"] == [experience] * 5
    assert names["weights"].tolist() == [1.0] * 5
    assert len(names["idxs"]) == 5
    stored, sampled = "LoggerPlugin: Experience stored:", "LoggerPlugin: Sampled a batch of 5 experiences."
    assert [line.startswith(stored) for line in printed] == [True, False, False, True, False, False, False]
    assert printed[1] == printed[4] == sampled
    assert printed[2].startswith("Uniform sample batch: [Experience(state=[0.1, 0.2, 0.3, 0.4]")
    assert printed[5].startswith("Prioritized sample batch: [")
    assert printed[6] == "Importance sampling weights: [1. 1. 1. 1. 1.]"
