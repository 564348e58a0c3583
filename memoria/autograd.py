"""The network's state takes no part in gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def without_autograd(method: Callable[P, R]) -> Callable[P, R]:
    """Runs `method` without gradients and outside of inference mode.

    Tensors that are created under `torch.inference_mode` can never again be changed outside of it; a
    network that was first used in an evaluation could then not be trained with.
    """

    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(False), torch.no_grad():
            return method(*args, **kwargs)

    return wrapper
