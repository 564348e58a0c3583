"""torch: dense tensors of every dtype, from every device; parameters too.

Dense tensors keep the order of their axes (channels_last and other transpositions); others come back
contiguous. `requires_grad` is kept, the graph is not, as in `torch.save`. Sparse and quantized tensors,
and subclasses other than `torch.nn.Parameter`, are left to pickle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import CorruptData, MissingDependency
from .header import Reference, Tree
from .layout import Order, axis_order, inverse_order

if TYPE_CHECKING:
    from .reader import Reader
    from .writer import Writer


def encode_node(writer: Writer, value: Any) -> Tree:
    """["tensor", kind, dtype, device, requires_grad, itemsize, shape, order of axes, reference]"""
    import torch

    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return NotImplemented
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        return NotImplemented
    kind = "parameter" if type(value) is torch.nn.Parameter else "tensor"
    tensor = value.detach().cpu().resolve_conj().resolve_neg()
    shape = list(tensor.shape)
    order = axis_order(shape, tensor.stride())
    dense = tensor.permute(order) if order else tensor
    if not dense.is_contiguous():
        order, dense = [], tensor.contiguous()
    content = memoryview(b"")
    if dense.numel():
        content = memoryview(dense.reshape(-1).view(torch.uint8).numpy())
    dtype = str(tensor.dtype).removeprefix("torch.")
    place = str(value.device)
    layout = [tensor.element_size(), shape, order]
    return ["tensor", kind, dtype, place, value.requires_grad, *layout, writer.reference(content)]


def decode_tensor(
    reader: Reader,
    kind: str,
    dtype: str,
    device: str,
    requires_grad: bool,
    itemsize: int,
    shape: list[int],
    order: Order,
    reference: Reference,
) -> Any:
    torch = _import_torch()
    element = getattr(torch, dtype, None) if type(dtype) is str else None
    if not isinstance(element, torch.dtype) or element.itemsize != itemsize:
        raise CorruptData(
            f"this torch has no dtype {dtype!r:.40} of {itemsize!r:.20} bytes: written with another version?"
        )
    view = reader.buffer(reference)
    if any(type(length) is not int or length < 0 for length in shape):
        raise CorruptData(f"tensor of the impossible shape {shape!r:.60}")
    if math.prod(shape) * element.itemsize != view.nbytes:
        raise CorruptData(f"{view.nbytes} bytes cannot be a {dtype} tensor of shape {shape!r:.60}")
    inverse = inverse_order(order, len(shape))
    stored_shape = [shape[axis] for axis in order] if order else shape
    tensor: Any
    if view.nbytes == 0:
        tensor = torch.empty(stored_shape, dtype=element)
    else:
        content = np.frombuffer(view, np.uint8)
        if view.readonly:  # a tensor cannot be read-only: a write would damage what is stored, or crash
            content = content.copy()
        tensor = torch.from_numpy(content).view(element).reshape(stored_shape)
    if order:
        tensor = tensor.permute(inverse)
    target = device if reader.device == "stored" else reader.device
    if target is not None and target != "cpu" and (reader.device != "stored" or _exists(torch, target)):
        tensor = tensor.to(target)
    if kind == "parameter":
        return torch.nn.Parameter(tensor, requires_grad=bool(requires_grad))
    if kind != "tensor":
        raise CorruptData(f"unknown kind of tensor {kind!r:.40}")
    return tensor.requires_grad_() if requires_grad else tensor


def _exists(torch: Any, device: str) -> bool:
    place = torch.device(device)
    backend = getattr(torch, place.type, None)
    if backend is None or not hasattr(backend, "is_available") or not backend.is_available():
        return False
    return place.index is None or place.index < backend.device_count()


def _import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(
            f"the value is a tensor, and torch cannot be imported: {error}. Install torch to read it"
        ) from error
    return torch


DECODERS: dict[str, Callable[..., Any]] = {"tensor": decode_tensor}
