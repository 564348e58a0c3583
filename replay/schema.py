"""What one row of a replay buffer looks like: named columns of fixed shape and dtype.

Nested observations are flat inside: ``obs={"image": ..., "pos": ...}`` becomes the columns
``obs/image`` and ``obs/pos``, and a tuple becomes ``obs/0``, ``obs/1``. `Schema.flatten` and
`Schema.nest` go between the two forms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InvalidType, InvalidValue

SEPARATOR = "/"
RESERVED_NAMES = frozenset({"priority", "priorities"})  # arguments of add() and add_batch()

_STORABLE_KINDS = "biufc"  # bool, integers, floats, complex: fixed size, no Python objects inside


@dataclass(frozen=True)
class ColumnSpec:
    """One column: its name, the shape of one row's value (``()`` for a scalar) and its dtype.

    Examples:
        >>> ColumnSpec("obs", (4,), np.dtype("float32")).shape
        (4,)
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        dtype = np.dtype(self.dtype).newbyteorder("=")
        if dtype.kind in _STORABLE_KINDS:  # NumPy's own object, not a copy: batches are checked by identity
            dtype = np.dtype(dtype.str)
        object.__setattr__(self, "dtype", dtype)
        if not isinstance(self.name, str) or not self.name:
            raise InvalidType(f"A column name must be a non-empty string, got {self.name!r}.")
        if self.name in RESERVED_NAMES:
            raise InvalidValue(
                f"A column cannot be called {self.name!r}: that is an argument of add() and add_batch(). "
                "Choose another name."
            )
        if any(part == "" for part in self.name.split(SEPARATOR)):
            raise InvalidValue(f"Column name {self.name!r} has an empty part around {SEPARATOR!r}.")
        if self.dtype.kind not in _STORABLE_KINDS:
            raise InvalidType(
                f"Column {self.name!r} has dtype {self.dtype}, which has no fixed-size numeric rows. "
                "Store numbers, or an index into a table of your own."
            )
        if any(n < 0 for n in self.shape):
            raise InvalidValue(f"Column {self.name!r} has a negative dimension: {self.shape}.")

    def __reduce__(self) -> tuple[Any, ...]:
        # Through `__post_init__`: an unpickled dtype is a copy.
        return ColumnSpec, (self.name, self.shape, self.dtype.str)

    @property
    def nbytes(self) -> int:
        """Bytes of one row's value."""
        size = self.dtype.itemsize
        for n in self.shape:
            size *= n
        return size


class Schema:
    """The columns of a buffer, in order. Immutable, hashable, comparable.

    ``Schema({"obs": ((17,), "float32"), "reward": "float32"})``: a value is ``(shape, dtype)``, a dtype
    alone (a scalar column), a `ColumnSpec`, or a nested dict of these.

    Examples:
        >>> schema = Schema({"obs": ((17,), "float32"), "reward": "float32"})
        >>> schema == Schema.from_example({"obs": np.zeros(17, np.float32), "reward": np.float32(0)})
        True
    """

    __slots__ = ("_by_name", "columns")

    columns: tuple[ColumnSpec, ...]

    def __init__(self, columns: Mapping[str, Any]) -> None:
        specs = tuple(_specs(columns, prefix=""))
        if not specs:
            raise InvalidValue("A schema needs at least one column.")
        by_name = {spec.name: spec for spec in specs}
        if len(by_name) != len(specs):
            raise InvalidValue(f"Two columns have the same name among {[spec.name for spec in specs]}.")
        for name in by_name:
            for i in range(name.count(SEPARATOR)):
                parent = name.rsplit(SEPARATOR, i + 1)[0]
                if parent in by_name:
                    raise InvalidValue(f"{parent!r} is both a column and the parent of {name!r}.")
        self.columns = specs
        self._by_name = by_name

    # -- ways to make one --------------------------------------------------------------------------

    @classmethod
    def from_example(cls, row: Mapping[str, Any]) -> Schema:
        """From one row, as `add` would take it. NumPy's own rules give the dtypes (0.5 is float64)."""
        arrays = {name: as_numpy(value, name) for name, value in flatten(row).items()}
        return cls({name: ColumnSpec(name, a.shape, a.dtype) for name, a in arrays.items()})

    @classmethod
    def from_batch(cls, batch: Mapping[str, Any]) -> Schema:
        """From a batch, as `add_batch` would take it: the first axis is the row."""
        specs: dict[str, ColumnSpec] = {}
        for name, value in flatten(batch).items():
            array = as_numpy(value, name)
            if array.ndim == 0:
                raise InvalidValue(f"Column {name!r} of a batch needs a first axis (rows), got a scalar.")
            specs[name] = ColumnSpec(name, array.shape[1:], array.dtype)
        return cls(specs)

    @classmethod
    def from_spaces(
        cls,
        observation_space: Any,
        action_space: Any,
        *,
        reward_dtype: Any = np.float32,
        extra: Mapping[str, Any] | None = None,
    ) -> Schema:
        """``obs, action, reward, next_obs, terminated, truncated`` from two gymnasium spaces.

        ``extra`` adds columns of your own in the form that `Schema` takes.
        """
        observation = columns_of_space(observation_space)
        columns: dict[str, Any] = {
            "obs": observation,
            "action": columns_of_space(action_space),
            "reward": ((), reward_dtype),
            "next_obs": observation,
            "terminated": ((), np.bool_),
            "truncated": ((), np.bool_),
        }
        columns.update(extra or {})
        return cls(columns)

    @classmethod
    def from_env(cls, env: Any, **options: Any) -> Schema:
        """`from_spaces` for an environment; of a vector environment the spaces of one copy are taken."""
        observation = getattr(env, "single_observation_space", None) or getattr(
            env, "observation_space", None
        )
        action = getattr(env, "single_action_space", None) or getattr(env, "action_space", None)
        if observation is None or action is None:
            raise InvalidType(f"{type(env).__name__} has no observation_space and action_space.")
        return cls.from_spaces(observation, action, **options)

    # -- reading it --------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def row_nbytes(self) -> int:
        """Bytes of one row without the buffer's own bookkeeping."""
        return sum(spec.nbytes for spec in self.columns)

    def __getitem__(self, name: str) -> ColumnSpec:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[ColumnSpec]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(self.columns)

    def __repr__(self) -> str:
        body = ", ".join(f"{c.name}: {c.dtype}{list(c.shape) if c.shape else ''}" for c in self.columns)
        return f"Schema({body})"

    # -- between nested and flat -------------------------------------------------------------------

    def flatten(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Flat columns of a possibly nested row or batch; raises unless they are exactly ours."""
        if values.keys() != self._by_name.keys():
            values = flatten(values)
            if values.keys() != self._by_name.keys():
                missing = sorted(self._by_name.keys() - values.keys())
                unknown = sorted(values.keys() - self._by_name.keys())
                raise InvalidValue(
                    f"The columns do not match the schema: missing {missing}, unknown {unknown}; "
                    f"the schema has {list(self.names)}."
                )
        return values

    def to_dict(self) -> dict[str, Any]:
        """A form for JSON; `from_dict` reads it."""
        return {c.name: {"shape": list(c.shape), "dtype": c.dtype.str} for c in self.columns}

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> Schema:
        return cls({n: ColumnSpec(n, tuple(c["shape"]), np.dtype(c["dtype"])) for n, c in form.items()})


def flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a nested row or batch under flat names; the entries of a tuple are called 0, 1, ..."""
    leaves: dict[str, Any] = {}
    for name, value in _leaves(row, ""):
        if name in leaves:
            raise InvalidValue(f"Two columns have the same name: {name!r}. Rename one of them.")
        leaves[name] = value
    return leaves


def is_tuple_of_columns(value: Any) -> bool:
    """Whether a tuple is several columns, rather than one that is written as a tuple of numbers."""
    return isinstance(value, tuple) and any(isinstance(v, Mapping | np.ndarray | tuple) for v in value)


def _leaves(row: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if not isinstance(key, str | int):
            raise InvalidType(f"Column names are strings; got {key!r} ({type(key).__name__}).")
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}{SEPARATOR}")
        elif is_tuple_of_columns(value):
            yield from _leaves(dict(enumerate(value)), f"{name}{SEPARATOR}")
        else:
            yield name, value


def nest(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Flat names back to nested dicts; children called "0".."n-1" come back as a tuple."""
    tree: dict[str, Any] = {}
    for name, value in columns.items():
        *parents, leaf = name.split(SEPARATOR)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return {name: _tuples(value) for name, value in tree.items()}


def _tuples(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    children = {name: _tuples(value) for name, value in node.items()}
    if list(children) == [str(i) for i in range(len(children))]:
        return tuple(children.values())
    return children


def as_numpy(value: Any, name: str) -> np.ndarray[Any, Any]:
    """``value`` as an array, or a clear error: ragged lists and objects are refused."""
    if isinstance(value, np.ndarray):
        array = value
    else:
        if hasattr(value, "detach"):  # a torch tensor, perhaps on a device or with a gradient
            value = value.detach().cpu()
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise InvalidValue(f"Column {name!r} cannot be made an array: {error}") from error
    if array.dtype.kind not in _STORABLE_KINDS:
        raise InvalidType(f"Column {name!r} has dtype {array.dtype}; a replay buffer stores numbers only.")
    return array


def columns_of_space(space: Any) -> Any:
    """The part of a schema that stores one element of a gymnasium space."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary | spaces.Discrete):
        return (space.shape, space.dtype)
    if isinstance(space, spaces.Dict):
        return {str(name): columns_of_space(inner) for name, inner in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return {str(i): columns_of_space(inner) for i, inner in enumerate(space.spaces)}
    raise InvalidType(
        f"{type(space).__name__} has no fixed size: use Box, Discrete, MultiDiscrete, MultiBinary, "
        "Dict or Tuple, or encode it before it is stored."
    )


def _specs(columns: Mapping[str, Any], prefix: str) -> Iterator[ColumnSpec]:
    for key, value in columns.items():
        name = f"{prefix}{key}"
        if isinstance(value, ColumnSpec):
            yield ColumnSpec(name, value.shape, value.dtype)
        elif isinstance(value, Mapping):
            yield from _specs(value, prefix=f"{name}{SEPARATOR}")
        elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], tuple | list | int):
            shape = (value[0],) if isinstance(value[0], int) else tuple(value[0])
            yield ColumnSpec(name, shape, _dtype(value[1], name))
        else:
            yield ColumnSpec(name, (), _dtype(value, name))


def _dtype(value: Any, name: str) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(value)
        return dtype
    except TypeError as error:
        raise InvalidType(
            f"Column {name!r} needs (shape, dtype) or a dtype in a schema, got {value!r}. "
            "To describe values by example use Schema.from_example or Schema.from_batch."
        ) from error
