"""The package: every name is there, and importing it costs nothing that is not asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from memories import tiers


def test_every_name_can_be_imported() -> None:
    assert dir(tiers) == sorted(tiers.__all__)
    for name in tiers.__all__:
        assert getattr(tiers, name).__name__ == name
    with pytest.raises(AttributeError, match="LukewarmMemory"):
        tiers.LukewarmMemory  # noqa: B018


def test_importing_loads_neither_torch_nor_ray_nor_matplotlib() -> None:
    code = (
        "import sys, memory, memories.core.hot_memory, memories.core.warm_memory\n"
        "import memories.tiers.hot_memory, memories.tiers.warm_memory, memories.tiers.analytics\n"
        "found = {'torch', 'ray', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
