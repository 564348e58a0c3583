"""The examples in the docstrings of public names that need no Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.public_names import NEED_RAY, public_names, run_examples

NAMES = [
    pytest.param(name, value, id=name)
    for name, value in public_names()
    if name.rpartition(".")[2] not in NEED_RAY
]


@pytest.mark.parametrize(("name", "value"), NAMES)
def test_the_example_is_true(
    name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMORIES_HOME", str(tmp_path))
    run_examples(name, value)
