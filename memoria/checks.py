"""Checks of what callers pass, made before anything is changed."""

from __future__ import annotations

import numbers

import torch

from .errors import IndexOutOfRange, InvalidArgument, InvalidShape, InvalidType

_FLOAT32_MAX = torch.finfo(torch.float32).max
_AUTOCAST_DTYPES = {torch.float16, torch.bfloat16, torch.float32}
_WITHOUT_EXTREMES = {torch.bool, torch.uint16, torch.uint32}
"""Dtypes for which torch has no minimum and maximum."""


def whole_number(name: str, value: object, least: int) -> int:
    """`value` as an int of at least `least`."""
    number = _real(name, value)
    if not number.is_integer():
        raise InvalidArgument(f"{name} is {value!r}; give a whole number")
    if number < least:
        raise InvalidArgument(f"{name} is {value!r}; it has to be at least {least}")
    return int(number)


def positive_number(name: str, value: object) -> float:
    """`value` as a float above 0 that is finite in float32 too, in which lifespans are kept."""
    number = _real(name, value)
    if not 0 < number <= _FLOAT32_MAX:
        raise InvalidArgument(
            f"{name} is {value!r}; it has to be greater than 0 and at most {_FLOAT32_MAX:.4g} (float32)"
        )
    return number


def real_number(name: str, value: numbers.Real) -> float:
    """`value` as a float, which may be infinite or NaN."""
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidArgument(f"{name} is a number beyond 1.8e308; give one that a float holds") from error


def _real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidType(f"{name} is {value!r} ({type(value).__name__}); give a number")
    return real_number(name, value)


def usable_device(value: object) -> torch.device:
    """`value` as a device that can hold tensors here and now."""
    if not isinstance(value, (str, int, torch.device)):
        raise InvalidType(f"device is a {type(value).__name__}; give a torch.device or its name")
    try:
        device = torch.device(value)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # as torch was built
        reason = str(error).partition("\n")[0]
        raise InvalidArgument(f"device {value!r} cannot be used here: {reason}; give another") from error
    if device.type == "meta":
        raise InvalidArgument("device is 'meta', which holds no data; give one that does")
    return device


def float_tensor(name: str, value: object, *, rank: int, shape_means: str) -> torch.Tensor:
    """`value` if it is a floating-point tensor of that rank without NaN or infinity, also in float32."""
    tensor = any_tensor(name, value)
    if not tensor.is_floating_point():
        raise InvalidType(f"{name} has dtype {tensor.dtype}; give a floating-point tensor")
    if tensor.dim() != rank:
        raise InvalidShape(f"{name} has shape {tuple(tensor.shape)}; expected {rank} axes, {shape_means}")
    return tensor


def any_tensor(name: str, value: object) -> torch.Tensor:
    """`value` if it is a dense tensor with data."""
    tensor = _dense_tensor(name, value)
    if tensor.is_meta:
        raise InvalidType(f"{name} is a meta tensor, which has no data")
    return tensor


def _dense_tensor(name: str, value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise InvalidType(f"{name} is a {type(value).__name__}; give a torch.Tensor")
    if value.layout != torch.strided:
        raise InvalidType(f"{name} has layout {value.layout}; give a dense tensor")
    return value


def segment(name: str, value: object, parameter: torch.Tensor) -> torch.Tensor:
    """`value` if a module with this parameter [..., D] can read it as a segment [B, S, D]."""
    tensor = _dense_tensor(name, value)
    hidden_dim = parameter.shape[-1]
    if tensor.dim() != 3 or tensor.shape[2] != hidden_dim:
        raise InvalidShape(
            f"{name} has shape {tuple(tensor.shape)}; expected [batch, segment, hidden] with a hidden size "
            f"of {hidden_dim}"
        )
    if tensor.device != parameter.device:
        raise InvalidArgument(f"{name} is on {tensor.device}, the parameters on {parameter.device}; move one")
    if tensor.dtype != parameter.dtype and not _autocast_joins(tensor, parameter):
        raise InvalidType(f"{name} has dtype {tensor.dtype}, the parameters {parameter.dtype}; convert one")
    return tensor


def _autocast_joins(tensor: torch.Tensor, parameter: torch.Tensor) -> bool:
    device = tensor.device.type
    if not torch.is_autocast_enabled(device) or not {tensor.dtype, parameter.dtype} <= _AUTOCAST_DTYPES:
        return False
    return device != "cpu" or parameter.dtype == torch.float32  # on the CPU, norms are not cast


def all_finite(name: str, tensor: torch.Tensor) -> None:
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        wrong = int(tensor.numel() - finite.sum())
        raise InvalidArgument(
            f"{name} holds {wrong} values of {tensor.numel()} that are NaN, infinite or beyond float32; "
            "distances to them mean nothing"
        )


def index_tensor(name: str, value: object, *, batch_size: int, slots: int) -> torch.Tensor:
    """`value` if it is an integer tensor [B, K] with values from -1 to slots - 1."""
    indices = any_tensor(name, value)
    if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
        raise InvalidType(f"{name} has dtype {indices.dtype}; give integers")
    if indices.dim() != 2 or indices.shape[0] != batch_size:
        raise InvalidShape(
            f"{name} has shape {tuple(indices.shape)}; expected [batch, number] with a batch of {batch_size}"
        )
    if indices.numel():
        low, high = _extremes(indices)
        if low < -1 or high >= slots:
            raise IndexOutOfRange(
                f"{name} reaches from {low} to {high}; there are {slots} slots a row, so indices go from "
                f"-1 (none) to {slots - 1}"
            )
    return indices


def whole_numbers(name: str, tensor: torch.Tensor, least: int, most: int) -> None:
    """Refuses a tensor with values that are not whole or not from `least` to `most`, before it is cast."""
    if tensor.is_complex():
        raise InvalidType(f"{name} has dtype {tensor.dtype}; give whole numbers")
    if not tensor.numel():
        return
    if tensor.is_floating_point():
        exact = tensor.double()
        whole = exact == exact.trunc()
        if not bool(whole.all()):
            raise InvalidArgument(f"{name} holds {exact[~whole][0].item()}; give whole numbers")
    low, high = _extremes(tensor)
    if low < least or high > most:
        raise InvalidArgument(f"{name} reaches from {low} to {high}; it has to be from {least} to {most}")


def _extremes(tensor: torch.Tensor) -> tuple[int, int]:
    """The lowest and the highest of whole numbers; those beyond int64 count as its ends."""
    if tensor.is_floating_point():
        tensor = tensor.double().clamp(-(2.0**62), 2.0**62)
    elif tensor.dtype == torch.uint64:
        wrapped = tensor.to(torch.int64)
        tensor = torch.where(wrapped < 0, torch.iinfo(torch.int64).max, wrapped)
    elif tensor.dtype in _WITHOUT_EXTREMES:
        tensor = tensor.to(torch.int64)
    low, high = torch.aminmax(tensor)
    return int(low), int(high)
