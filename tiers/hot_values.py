"""`Planted`: a value whose tensors and arrays live on a device.

A value is planted leaf by leaf. Tensors and arrays become tensors on the device; containers of them stay
containers; small immutable things stay as they are; and whatever else there is (tables, frames, objects)
is encoded, and its bytes live on the device.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch

from ..errors import InvalidValue
from .codec import decode, encode
from .precision import lowered

MAX_DEPTH = 200

_IMMUTABLE = (type(None), bool, int, float, complex, str, bytes)

_ARRAY_DTYPES = frozenset(
    np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
)
"""What torch holds as it is; arrays of other dtypes are encoded."""


@dataclass(frozen=True, slots=True)
class TensorLeaf:
    """A torch tensor; `parameter` and `requires_grad` are put back when it is read."""

    tensor: torch.Tensor
    parameter: bool
    requires_grad: bool

    def read(self, writable: bool) -> torch.Tensor:
        # A tensor cannot be read-only, so the caller gets one of its own.
        tensor = self.tensor.clone()
        if self.parameter:
            return torch.nn.Parameter(tensor, requires_grad=self.requires_grad)
        return tensor.requires_grad_() if self.requires_grad else tensor


@dataclass(frozen=True, slots=True)
class ArrayLeaf:
    """A NumPy array, kept as a tensor. NumPy has no bfloat16: such values come back as float32."""

    tensor: torch.Tensor

    def read(self, writable: bool) -> np.ndarray[Any, Any]:
        if self.tensor.dtype == torch.bfloat16:
            widened: np.ndarray[Any, Any] = self.tensor.float().cpu().numpy()
            return widened
        array: np.ndarray[Any, Any] = self.tensor.cpu().numpy()
        if self.tensor.device.type == "cpu":  # then it is the memory that is stored
            if writable:
                return array.copy(order="K")
            array.flags.writeable = False
        return array


@dataclass(frozen=True, slots=True)
class EncodedLeaf:
    """Anything else: its header here, its bytes on the device."""

    header: bytes
    buffers: tuple[torch.Tensor, ...]
    has_pickle: bool

    def read(self, writable: bool) -> Any:
        views = [buffer.cpu().numpy().data.toreadonly() for buffer in self.buffers]
        return decode(self.header, views, allow_pickle=self.has_pickle, writable=writable)


@dataclass(frozen=True, slots=True)
class PlainLeaf:
    """A small immutable thing, kept on the host."""

    value: Any

    def read(self, writable: bool) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class Branch:
    """A container: `kind` is its type, `names` the keys where it has any."""

    kind: type
    names: tuple[Any, ...]
    children: tuple[Node, ...]
    attributes: dict[str, Any]

    def read(self, writable: bool) -> Any:
        items = [child.read(writable) for child in self.children]
        if self.kind in (list, tuple):
            return self.kind(items)
        mapping = self.kind(zip(self.names, items, strict=True))
        if self.attributes:  # what torch hangs on a state_dict
            vars(mapping).update(copy.deepcopy(self.attributes))
        return mapping


Leaf: TypeAlias = TensorLeaf | ArrayLeaf | EncodedLeaf | PlainLeaf
Node: TypeAlias = Leaf | Branch


@dataclass(frozen=True, slots=True)
class Planted:
    """A value on a device. Immutable, except that nobody can keep a tensor from being written to."""

    root: Node
    device: str

    def read(self, writable: bool = False) -> Any:
        """The value; tensors are on the device and the caller's own, arrays are views where they can."""
        return self.root.read(writable)

    def tensors(self) -> Iterator[torch.Tensor]:
        """Every tensor on the device, those that hold arrays and bytes included."""
        for leaf in leaves(self.root):
            if isinstance(leaf, TensorLeaf | ArrayLeaf):
                yield leaf.tensor
            elif isinstance(leaf, EncodedLeaf):
                yield from leaf.buffers

    def on_host(self) -> Planted:
        """The same value on the host; memory that several tensors share crosses over once."""
        crossed: dict[int, torch.Tensor] = {}

        def move(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in crossed:
                whole = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage)
                crossed[storage.data_ptr()] = whole.cpu()
            host = torch.empty(0, dtype=tensor.dtype)
            shared = crossed[storage.data_ptr()].untyped_storage()
            return host.set_(shared, tensor.storage_offset(), tensor.size(), tensor.stride())

        if all(tensor.device.type == "cpu" for tensor in self.tensors()):
            return self
        return Planted(with_tensors(self.root, move), "cpu")

    @property
    def nbytes(self) -> int:
        """Bytes on the device (tensors that share memory counted once), and those of plain leaves."""
        storages = {}
        for tensor in self.tensors():
            storage = tensor.untyped_storage()
            storages[storage.data_ptr(), storage.device] = storage.nbytes()
        plain = sum(_plain_bytes(leaf.value) for leaf in leaves(self.root) if isinstance(leaf, PlainLeaf))
        return sum(storages.values()) + plain

    @property
    def has_pickle(self) -> bool:
        """Whether some part is a pickle."""
        return any(isinstance(leaf, EncodedLeaf) and leaf.has_pickle for leaf in leaves(self.root))


def plant(
    value: Any, device: torch.device, label: str, *, precision: torch.dtype | None, allow_pickle: bool
) -> Planted:
    """A copy of the value on a device. Raises `InvalidValue` for what the precision cannot hold, for
    containers that are nested too deeply, and whatever the codec raises."""

    def node(part: Any, depth: int) -> Node:
        kind = type(part)
        if depth > MAX_DEPTH:
            raise InvalidValue(f"the value is nested more than {MAX_DEPTH} levels deep (or contains itself)")
        if kind in (torch.Tensor, torch.nn.Parameter) and _is_dense(part):
            tensor = _own(lowered(part.detach(), precision), part, device)
            return TensorLeaf(tensor, kind is torch.nn.Parameter, part.requires_grad)
        if kind is np.ndarray and part.dtype in _ARRAY_DTYPES and part.dtype.isnative:
            plain = torch.from_numpy(_as_torch_likes(part))
            return ArrayLeaf(_own(lowered(plain, precision), plain, device))
        if kind in (dict, OrderedDict, list, tuple) and _holds_arrays(part, depth):
            if kind in (list, tuple):
                return Branch(kind, (), tuple(node(item, depth + 1) for item in part), {})
            children = tuple(node(item, depth + 1) for item in part.values())
            return Branch(kind, tuple(part), children, copy.deepcopy(getattr(part, "__dict__", {})))
        if depth and kind in _IMMUTABLE:
            return PlainLeaf(part)
        encoded = encode(part, allow_pickle=allow_pickle)
        buffers = tuple(_bytes_on(buffer, device) for buffer in encoded.buffers)
        return EncodedLeaf(encoded.header, buffers, encoded.has_pickle)

    return Planted(node(value, 0), label)


def leaves(node: Node) -> Iterator[Leaf]:
    """The leaves of a tree, in order."""
    if isinstance(node, Branch):
        for child in node.children:
            yield from leaves(child)
    else:
        yield node


def mapped(node: Node, change: Callable[[Leaf], Leaf]) -> Node:
    """The tree with every leaf changed."""
    if isinstance(node, Branch):
        return replace(node, children=tuple(mapped(child, change) for child in node.children))
    return change(node)


def with_tensors(node: Node, change: Callable[[torch.Tensor], torch.Tensor]) -> Node:
    """The tree with every tensor replaced."""

    def change_leaf(leaf: Leaf) -> Leaf:
        if isinstance(leaf, TensorLeaf | ArrayLeaf):
            return replace(leaf, tensor=change(leaf.tensor))
        if isinstance(leaf, EncodedLeaf):
            return replace(leaf, buffers=tuple(map(change, leaf.buffers)))
        return leaf

    return mapped(node, change_leaf)


def _holds_arrays(container: Any, depth: int) -> bool:
    """Whether a container of the plain types holds a tensor or an array somewhere, under keys that can
    be kept as they are; others are left to the codec, which knows more."""
    if depth > MAX_DEPTH:
        raise InvalidValue(f"the value is nested more than {MAX_DEPTH} levels deep (or contains itself)")
    items = container
    if isinstance(container, dict):
        if not set(map(type, container)) <= set(_IMMUTABLE):
            return False
        if not getattr(container, "__dict__", {}).keys() <= {"_metadata"}:
            return False
        items = container.values()
    kinds = set(map(type, items))
    if kinds & {torch.Tensor, torch.nn.Parameter, np.ndarray}:
        return True
    if not kinds & {dict, OrderedDict, list, tuple}:
        return False
    return any(
        type(item) in (dict, OrderedDict, list, tuple) and _holds_arrays(item, depth + 1) for item in items
    )


def _is_dense(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_quantized and tensor.device.type != "meta"


def _own(tensor: torch.Tensor, source: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device, in dense memory that is not the caller's."""
    moved = tensor.to(device)
    if moved.data_ptr() == source.data_ptr() or moved.untyped_storage().nbytes() != moved.nbytes:
        moved = moved.clone()
    return moved.resolve_conj().resolve_neg()


def _as_torch_likes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # torch takes neither negative strides nor read-only memory (the latter with a warning).
    if any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        return np.array(array, order="K", copy=True)
    return array


def _bytes_on(buffer: memoryview, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(buffer, np.uint8).copy()).to(device)


def _plain_bytes(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 8
