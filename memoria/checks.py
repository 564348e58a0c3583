"""Checks of what callers pass, made before anything is changed."""

from __future__ import annotations

import math
import numbers

import torch

from .errors import IndexOutOfRange, InvalidArgument, InvalidShape, InvalidType


def whole_number(name: str, value: object, least: int) -> int:
    """`value` as an int of at least `least`."""
    number = _real(name, value)
    if not number.is_integer():
        raise InvalidArgument(f"{name} is {value!r}; give a whole number")
    if number < least:
        raise InvalidArgument(f"{name} is {value!r}; it has to be at least {least}")
    return int(number)


def positive_number(name: str, value: object) -> float:
    """`value` as a finite float above 0."""
    number = _real(name, value)
    if not math.isfinite(number) or number <= 0:
        raise InvalidArgument(f"{name} is {value!r}; it has to be finite and greater than 0")
    return number


def _real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidType(f"{name} is {value!r} ({type(value).__name__}); give a number")
    return float(value)


def float_tensor(name: str, value: object, *, rank: int, shape_means: str) -> torch.Tensor:
    """`value` if it is a floating-point tensor of that rank without NaN or infinity, also in float32."""
    tensor = any_tensor(name, value)
    if not tensor.is_floating_point():
        raise InvalidType(f"{name} has dtype {tensor.dtype}; give a floating-point tensor")
    if tensor.dim() != rank:
        raise InvalidShape(f"{name} has shape {tuple(tensor.shape)}; expected {rank} axes, {shape_means}")
    return tensor


def any_tensor(name: str, value: object) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise InvalidType(f"{name} is a {type(value).__name__}; give a torch.Tensor")
    if value.layout != torch.strided:
        raise InvalidType(f"{name} has layout {value.layout}; give a dense tensor")
    if value.is_meta:
        raise InvalidType(f"{name} is a meta tensor, which has no data")
    return value


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
        low, high = (int(extreme) for extreme in torch.aminmax(indices))
        if low < -1 or high >= slots:
            raise IndexOutOfRange(
                f"{name} reaches from {low} to {high}; there are {slots} slots a row, so indices go from "
                f"-1 (none) to {slots - 1}"
            )
    return indices
