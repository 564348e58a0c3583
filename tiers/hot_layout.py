"""Better layouts for values that stay on a device: dense, channels last, or many tensors in one block."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .hot_values import ArrayLeaf, Leaf, Planted, TensorLeaf, leaves, mapped

LAYOUTS = ("auto", "contiguous", "channels_last", "coalesced")

_ALIGNMENT_BYTES = 64
"""Of each tensor in a block: enough for every vector load."""


@dataclass(frozen=True, slots=True)
class LayoutReport:
    """What `optimize_layout` did: how many tensors it changed, and into how many allocations and bytes."""

    key: str
    layout: str
    changed: int
    allocations_before: int
    allocations_after: int
    bytes_before: int
    bytes_after: int


def optimized(key: str, planted: Planted, layout: str) -> tuple[Planted, LayoutReport]:
    """The value in another layout, and what that changed. Its numbers stay the same.

    "contiguous": rows one after the other, so that kernels and partial reads run over memory in order.
    "channels_last": 4-D tensors in the order that convolutions on tensor cores want.
    "coalesced": all tensors of a container in one allocation, which crosses to another device or tier
    in one transfer instead of one a tensor, and wastes no rounding (CUDA gives out 512 bytes at least).
    "auto": contiguous, and coalesced where there are several tensors.
    """
    changed = 0

    def relaid(leaf: Leaf) -> Leaf:
        nonlocal changed
        if not isinstance(leaf, TensorLeaf | ArrayLeaf):
            return leaf
        old = leaf.tensor
        if layout == "channels_last":
            if old.dim() != 4 or old.is_contiguous(memory_format=torch.channels_last):
                return leaf
            new = old.contiguous(memory_format=torch.channels_last)
        elif layout == "coalesced" or old.is_contiguous():
            return leaf
        else:
            new = old.contiguous()
        changed += 1
        return replace(leaf, tensor=new)

    result = Planted(mapped(planted.root, relaid), planted.device)
    if layout in ("auto", "coalesced") and _allocations(result) > 1 and _tensor_count(result) > 1:
        changed = _tensor_count(result)
        result = _coalesced(result)
    report = LayoutReport(
        key,
        layout,
        changed,
        _allocations(planted),
        _allocations(result),
        planted.nbytes,
        result.nbytes,
    )
    return (result if changed else planted), report


def _coalesced(planted: Planted) -> Planted:
    """All tensors of the value in one block."""
    tensors = [leaf.tensor for leaf in leaves(planted.root) if isinstance(leaf, TensorLeaf | ArrayLeaf)]
    total = sum(_aligned(tensor.nbytes) for tensor in tensors)
    block = torch.empty(total, dtype=torch.uint8, device=tensors[0].device)
    position = 0

    def placed(leaf: Leaf) -> Leaf:
        nonlocal position
        if not isinstance(leaf, TensorLeaf | ArrayLeaf):
            return leaf
        old = leaf.tensor
        part = block[position : position + old.nbytes].view(old.dtype)
        new = torch.as_strided(part, old.size(), old.stride(), part.storage_offset())
        new.copy_(old)
        position += _aligned(old.nbytes)
        return replace(leaf, tensor=new)

    return Planted(mapped(planted.root, placed), planted.device)


def _tensor_count(planted: Planted) -> int:
    return sum(isinstance(leaf, TensorLeaf | ArrayLeaf) for leaf in leaves(planted.root))


def _allocations(planted: Planted) -> int:
    return len({tensor.untyped_storage().data_ptr() for tensor in planted.tensors() if tensor.numel()})


def _aligned(nbytes: int) -> int:
    return -(-nbytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
