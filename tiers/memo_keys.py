"""Keys of memoized calls: equal arguments give equal keys, and different ones different keys.

What Python can compare and what will not change stays as it is, together with its type (1, 1.0 and True
are different calls). Arrays, tensors, tables, lists, sets and mappings go in by the 128-bit xxh3 of their
contents, tensors too although Python would hash them by identity; so do the parts of tuples, and what lies
in containers of containers. Other hashable objects are compared by their own equality, other unhashable
ones by their pickle.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Hashable
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import uuid4

from xxhash import xxh3_128

from ..errors import InvalidType, MemoriesError
from .codec import encode
from .memo_canonical import canonical

_SCALARS = (int, str, bool, bytes, type(None))

_BY_CONTENT = frozenset({list, dict, set, frozenset, bytearray, memoryview})

_BY_CONTENT_PACKAGES = frozenset({"numpy", "torch", "pyarrow", "pandas"})


class CallKeys:
    """Makes the keys of the calls of one function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._positional = -1  # of a function that takes more than plain arguments
        self._signature: inspect.Signature | None = None
        try:
            signature = inspect.signature(function)
        except (ValueError, TypeError):  # some builtins have none
            return
        self._signature = signature
        kinds = [parameter.kind for parameter in signature.parameters.values()]
        if all(kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for kind in kinds):
            self._positional = len(kinds)

    def of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        """The key of a call, however its arguments are spelled. Raises `TypeError`, as the call itself
        would, for arguments that the function does not take."""
        named: dict[str, Any] = {}
        if kwargs or len(args) != self._positional:
            args, named = self._bound(args, kwargs)
        key = tuple(map(comparable, args))
        if not named:
            return key
        return key, tuple((name, comparable(value)) for name, value in sorted(named.items()))

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._signature is None:
            return args, kwargs
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args, bound.kwargs


def comparable(argument: Any) -> Hashable:
    """Something hashable that is equal for equal arguments, and stays so whatever happens to them."""
    kind = type(argument)
    if kind in _SCALARS:
        return kind, argument
    if kind is float:
        # By its digits: 0.0 and -0.0 are equal and not the same, and a NaN is the same and not equal.
        return kind, argument.hex()
    if kind is complex:
        return kind, (argument.real.hex(), argument.imag.hex())
    if kind is tuple or _is_named_tuple(argument):
        return kind, tuple(map(comparable, argument))
    if _goes_by_content(kind):
        return kind, content_digest(argument)
    try:
        hash(argument)
    except TypeError:
        return kind, content_digest(argument)
    return kind, argument


def _is_named_tuple(argument: Any) -> bool:
    """Whether it is compared as a plain tuple is, which would look at neither the types of its parts nor
    the contents of its tensors."""
    kind = type(argument)
    return (
        isinstance(argument, tuple)
        and hasattr(kind, "_fields")
        and all(getattr(kind, name) is getattr(tuple, name) for name in ("__eq__", "__hash__"))
        and not hasattr(argument, "__dict__")
    )


def _goes_by_content(kind: type) -> bool:
    if kind in _BY_CONTENT or kind.__module__.partition(".")[0] in _BY_CONTENT_PACKAGES:
        return True
    # A user's own subclass of a tensor hashes by identity as well.
    return any((base.__module__, base.__qualname__) == ("torch", "Tensor") for base in kind.__mro__)


def content_digest(value: Any) -> str:
    """A digest of a value's type and bytes. Raises `InvalidType` for what cannot even be pickled."""
    kind = type(value)
    try:
        encoded = encode(canonical(value))
    except MemoriesError as error:
        raise InvalidType(
            f"a call with a {kind.__name__} cannot be told from others: give memoize key=, a function "
            f"of the arguments that returns something comparable ({error})"
        ) from error
    digest = xxh3_128(f"{kind.__module__}.{kind.__qualname__}\0".encode())
    digest.update(len(encoded.header).to_bytes(8, "little"))
    digest.update(encoded.header)
    for buffer in encoded.buffers:
        digest.update(buffer.nbytes.to_bytes(8, "little"))
        digest.update(buffer)
    return str(digest.hexdigest())


_THIS_PROCESS = uuid4().hex
_NUMBERS = itertools.count()


def function_name(function: Callable[..., Any]) -> str:
    """The function, its code, and what it is bound to or has captured: results of an older version of the
    code, or of another closure or object, are not results of this one."""
    return _name_of(function, frozenset())


def _name_of(function: Callable[..., Any], within: frozenset[int]) -> str:
    inner = inspect.unwrap(function)
    digest = xxh3_128()
    code = getattr(inner, "__code__", None)
    if code is not None:
        _add_code(digest, code)
    for held in _held_by(inner):
        digest.update(_digest_of_held(held, within | {id(inner)}).encode())
    return f"{function.__module__}.{function.__qualname__}-{digest.hexdigest()[:16]}"


def _held_by(function: Any) -> list[Any]:
    held = []
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # nothing is in it yet: a function that calls itself
            held.append(cell.cell_contents)
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        held.append(owner)
    return held


def _digest_of_held(held: Any, within: frozenset[int]) -> str:
    if isinstance(held, FunctionType | MethodType):
        return "itself" if id(inspect.unwrap(held)) in within else _name_of(held, within)
    try:
        return content_digest(held)
    except InvalidType:  # cannot be compared: then nobody else's results are its own
        return f"{_THIS_PROCESS}-{next(_NUMBERS)}"


def _add_code(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(digest, constant)
        else:
            digest.update(repr((type(constant).__name__, constant)).encode())
