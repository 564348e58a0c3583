"""Hot memory on GPUs: which one an actor takes, and how much of it.

A node with GPUs has one hot actor for each. Every one asks Ray for a small fraction, so that learners keep
the rest; Ray would put all those fractions on the first GPU and hide the others, so each actor sees all
GPUs and takes the one of its own index.
"""

from __future__ import annotations

from typing import Any

CUDA_CONTEXT_BYTES = 512 << 20
"""What a CUDA context takes where it could not be measured."""
MOST_CONTEXT_BYTES = 2 << 30
SEES_ALL_GPUS = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}


def actors_for(gpus: float) -> int:
    """How many hot actors a node with so many GPUs carries: one for each, and one where there is none."""
    return max(1, int(gpus))


def options_for(tier: str, gpus: float, gpu_fraction: float) -> dict[str, Any]:
    """What a tier actor asks Ray for on a node with so many GPUs."""
    if tier != "hot" or gpus < 1:
        return {"num_gpus": 0}
    return {"num_gpus": gpu_fraction, "runtime_env": {"env_vars": SEES_ALL_GPUS}}


def device_name(wanted: str | None, index: int, visible: int) -> str:
    """The device of the hot actor of this index, where torch sees so many GPUs. `wanted` is what the
    configuration says; "cuda" and None mean one GPU for each actor."""
    if wanted not in (None, "cuda"):
        assert wanted is not None
        return wanted
    return f"cuda:{index}" if index < visible else "cpu"


def context_bytes(free_before: int | None, free_after: int) -> int:
    """What the context of this process takes, from the free memory before and after it was made. Others
    come and go meanwhile, so a figure that cannot be is replaced by the usual one."""
    taken = CUDA_CONTEXT_BYTES if free_before is None else free_before - free_after
    return taken if 0 < taken <= MOST_CONTEXT_BYTES else CUDA_CONTEXT_BYTES


def budget_bytes(hot_bytes: int, free_bytes: int, taken_by_context: int) -> int:
    """What is left for values: the budget pays for the context, and is no more than what is free."""
    return max(0, min(hot_bytes - taken_by_context, free_bytes))
