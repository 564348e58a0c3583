"""Which devices there are, what they hold, and what to do where there is none."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

from ..errors import InvalidType, InvalidValue
from .machine import ram_bytes


def find_devices(wanted: str | Sequence[str] | None) -> dict[str, torch.device]:
    """The devices by label, in order. None is the first GPU, or the CPU where there is none.

    A CUDA device on a machine without CUDA becomes the CPU, with a warning; a device that does not
    exist raises `InvalidValue`.
    """
    if wanted is None:
        return (
            {"cuda:0": torch.device("cuda:0")} if torch.cuda.is_available() else {"cpu": torch.device("cpu")}
        )
    names = [wanted] if isinstance(wanted, str) else list(wanted) if isinstance(wanted, Sequence) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidType(f'device must be a name such as "cuda:0", or several of them, not {wanted!r:.60}')
    found: dict[str, torch.device] = {}
    for name in names:
        label, device = _find(name)
        found[label] = device
    return found


def device_bytes(places: dict[str, torch.device]) -> int:
    """Memory of all the devices together."""
    total = 0
    if any(device.type != "cuda" for device in places.values()):
        total += ram_bytes()
    for device in places.values():
        if device.type == "cuda":
            total += int(torch.cuda.get_device_properties(device).total_memory)
    return total


def release_cached(places: dict[str, torch.device]) -> None:
    """Give memory that torch keeps for later back to the driver."""
    if any(device.type == "cuda" for device in places.values()):
        torch.cuda.empty_cache()


def _find(name: str) -> tuple[str, torch.device]:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidValue(f'{name!r:.60} is not a device; write "cuda:0", "cuda:1" or "cpu"') from error
    if device.type == "cpu":
        return name, torch.device("cpu")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            warnings.warn(
                f"{name} was asked for, but this machine has no CUDA device: tensors stay on the CPU",
                RuntimeWarning,
                stacklevel=4,
            )
            return "cpu", torch.device("cpu")
        index = device.index or 0
        if index >= torch.cuda.device_count():
            raise InvalidValue(
                f"there is no {name}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
            )
        return f"cuda:{index}", torch.device("cuda", index)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise InvalidValue(f"the device {name!r:.60} cannot be used here: {error}") from error
    return str(device), device
