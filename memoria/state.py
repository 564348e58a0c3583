"""What a network is made of, as named arrays, and back: for checkpoints, without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .engram_type import EngramType
from .engrams import Engrams
from .errors import InvalidState, MemoriaError

State = dict[str, torch.Tensor]

_FORMAT = "memoria-1"
_DTYPES = {
    "data": torch.float32,
    "engrams_types": torch.uint8,
    "lifespan": torch.float32,
    "fire_counts": torch.int32,
    "link_numbers": torch.int32,
    "link_targets": torch.int32,
    "link_counts": torch.int32,
    "generator": torch.uint8,
    "about": torch.uint8,
}
_OPTIONAL_DTYPES = {"age": torch.int32, "engram_ids": torch.int32}


def engrams_state(engrams: Engrams) -> State:
    """Copies on the CPU: `data` [B, M, D], the fields [B, M], and each engram's links.

    `link_numbers` [B, M] says how many of `link_targets` (indices in the same row) and `link_counts`
    belong to each engram, in row-major order; the order within an engram decides later draws.
    """
    pairs = engrams.cofirings()
    shape = (engrams.batch_size, engrams.memory_length)
    numbers = np.bincount(pairs.rows * shape[1] + pairs.sources, minlength=shape[0] * shape[1])
    state = {
        "data": engrams.data.cpu(),
        "engrams_types": torch.from_numpy(engrams.host_types().copy()),
        "lifespan": engrams.lifespan.cpu().clone(),
        "fire_counts": engrams.fire_count.cpu(),
        "link_numbers": torch.from_numpy(numbers.astype(np.int32).reshape(shape)),
        "link_targets": torch.from_numpy(pairs.targets.astype(np.int32)),
        "link_counts": torch.from_numpy(pairs.counts),
    }
    if engrams.age is not None:
        state["age"] = engrams.age.cpu().clone()
    if engrams.engram_ids is not None:
        state["engram_ids"] = engrams.engram_ids.cpu().clone()
    return state


def engrams_from_state(state: Mapping[str, torch.Tensor], device: torch.device) -> Engrams:
    """Engrams as `engrams_state` described them. `state` has been checked by `checked_state`."""
    return Engrams.restored(
        state["data"].to(device),
        {name: state[name] for name in ("engrams_types", "lifespan", "age", "engram_ids") if name in state},
        state["fire_counts"].numpy(),
        state["link_numbers"].numpy().astype(np.int64),
        state["link_targets"].numpy().astype(np.int64),
        state["link_counts"].numpy(),
    )


def checked_state(state: object) -> tuple[State, dict[str, Any]]:
    """`state` on the CPU and what it says about its network.

    Raises:
        InvalidState: it is not what `state_dict` gives; the message names what is wrong.
    """
    if not isinstance(state, Mapping):
        raise InvalidState(f"the state is a {type(state).__name__}; give what state_dict() returned")
    arrays: State = {}
    for name, dtype in {**_DTYPES, **_OPTIONAL_DTYPES}.items():
        if name not in state:
            if name in _OPTIONAL_DTYPES:
                continue
            raise InvalidState(f"the state has no {name!r}; it has {sorted(map(str, state))}")
        value = state[name]
        if not isinstance(value, torch.Tensor) or value.dtype != dtype:
            found = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
            raise InvalidState(f"{name!r} of the state is {found}; expected a tensor of {dtype}")
        arrays[name] = value.detach().cpu().contiguous()
    unknown = sorted(set(map(str, state)) - set(arrays))
    if unknown:
        raise InvalidState(f"the state has entries that this version does not know: {unknown}")
    _check_engrams(arrays)
    try:
        about = json.loads(bytes(arrays["about"].numpy()))
        if about["format"] != _FORMAT:
            raise InvalidState(f"the state has format {about['format']!r}; this version reads {_FORMAT!r}")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, MemoriaError):
            raise
        raise InvalidState(f"'about' of the state cannot be read: {error!r}") from error
    return arrays, about


def _check_engrams(arrays: State) -> None:
    data = arrays["data"]
    if data.dim() != 3:
        raise InvalidState(f"'data' of the state has shape {tuple(data.shape)}; expected 3 axes")
    shape = tuple(data.shape[:2])
    for name in ("engrams_types", "lifespan", "fire_counts", "link_numbers", "age", "engram_ids"):
        if name in arrays and tuple(arrays[name].shape) != shape:
            raise InvalidState(
                f"{name!r} of the state has shape {tuple(arrays[name].shape)}; 'data' asks for {shape}"
            )
    if not (torch.isfinite(data).all() and torch.isfinite(arrays["lifespan"]).all()):
        raise InvalidState("'data' or 'lifespan' of the state holds NaN or infinity")
    numbers, targets, counts = (arrays[f"link_{part}"] for part in ("numbers", "targets", "counts"))
    total = int(numbers.sum(dtype=torch.int64))
    if targets.shape != (total,) or counts.shape != (total,) or (numbers < 0).any():
        raise InvalidState(
            f"the state announces {total} links; it has {tuple(targets.shape)} targets "
            f"and {tuple(counts.shape)} counts"
        )
    if arrays["engrams_types"].numel() and int(arrays["engrams_types"].max()) > EngramType.LONGTERM.value:
        raise InvalidState("'engrams_types' of the state holds types above 3")
    if (arrays["fire_counts"] < 0).any():
        raise InvalidState("'fire_counts' of the state holds negative counts")
    if not total:
        return
    owner = torch.repeat_interleave(torch.arange(numbers.numel(), device="cpu"), numbers.reshape(-1))
    within = bool(((targets >= 0) & (targets < shape[1]) & (counts > 0)).all())
    if within:
        target = owner // shape[1] * shape[1] + targets
        types = arrays["engrams_types"].reshape(-1)
        within = bool(((target != owner) & (types[target] != 0) & (types[owner] != 0)).all())
        within = within and len(torch.unique(owner * shape[1] + targets)) == total
    if not within:
        raise InvalidState(
            "the links of the state name engrams that are not there, or one twice, or no count"
        )


def about_tensor(about: dict[str, Any]) -> torch.Tensor:
    """`about` as bytes in a tensor, so that a state is arrays only."""
    return torch.frombuffer(bytearray(json.dumps({"format": _FORMAT, **about}).encode()), dtype=torch.uint8)


def save_state(state: State, path: str | os.PathLike[str]) -> None:
    """Writes a safetensors file; an existing one is replaced in one step, and is whole after a crash.

    Raises:
        OSError: it cannot be written (`FileNotFoundError`: there is no such folder).
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    partial = Path(f"{os.fspath(path)}.{os.getpid()}.partial")
    try:
        partial.touch()  # names a folder that is not there as every other write does; safetensors does not
        try:
            save_file(state, partial)
        except SafetensorError as error:
            raise OSError(f"{os.fspath(path)} cannot be written: {error}") from error
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
        folder = os.open(partial.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)


def read_state(path: str | os.PathLike[str]) -> State:
    """Reads what `save_state` wrote.

    Raises:
        InvalidState: the file is something else, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: State = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InvalidState(f"{os.fspath(path)} is not a saved network: {error}") from error
    return state
