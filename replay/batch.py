"""What `sample` returns."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import InvalidValue, MissingDependency
from .schema import SEPARATOR, nest

Array = Any  # a NumPy array, or a torch tensor after Batch.to_torch()


class Batch:
    """Rows by column, with what is needed to weight them and to find them again.

    ``batch["obs"]`` is an array of shape ``(rows, ...)``; of a nested observation it is the dict (or
    tuple) of its columns, and ``batch["obs/image"]`` works too. A sequence sampler gives
    ``(sequences, length, ...)``; a sampler of whole episodes concatenates them, and ``lengths`` tells
    where each ends.

    ``handles`` name the sampled rows for `update_priorities`; of a sequence or an episode, its first row.
    ``probabilities`` are the ones that the rows were drawn with, ``weights`` the importance weights,
    at most 1, ``(N * P)**-beta`` over their largest value in the whole buffer.

    The arrays belong to the caller: the buffer never writes to them again.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> buffer = ReplayBuffer(capacity=10, seed=0)
        >>> _ = buffer.add_batch({"obs": np.arange(8.0).reshape(4, 2), "reward": np.ones(4)})
        >>> batch = buffer.sample(3)
        >>> batch["obs"].shape, batch["reward"].tolist(), len(batch)
        ((3, 2), [1.0, 1.0, 1.0], 3)
    """

    __slots__ = ("_probabilities", "_weights", "columns", "handles", "lengths", "population")

    def __init__(
        self,
        columns: Mapping[str, Array],
        handles: Array,
        *,
        probabilities: Array | None = None,
        weights: Array | None = None,
        lengths: Array | None = None,
        population: int = 0,
    ) -> None:
        self.columns = columns
        self.handles = handles
        self.lengths = lengths
        self.population = population
        self._probabilities = probabilities
        self._weights = weights

    # Uniform draws compute these two only for who asks: most loops never do.

    @property
    def probabilities(self) -> Array:
        if self._probabilities is None:
            self._probabilities = np.full(len(self), 1.0 / max(self.population, 1))
        return self._probabilities

    @property
    def weights(self) -> Array:
        if self._weights is None:
            self._weights = np.ones(len(self), dtype=np.float32)
        return self._weights

    @property
    def names(self) -> tuple[str, ...]:
        """The flat column names."""
        return tuple(self.columns)

    def nested(self) -> dict[str, Any]:
        """The columns with nested observations put together again."""
        return nest(self.columns)

    def __getitem__(self, name: str) -> Any:
        try:
            return self.columns[name]
        except KeyError:
            below = name + SEPARATOR
            inner = {key[len(below) :]: col for key, col in self.columns.items() if key.startswith(below)}
            if inner:
                return nest({f"_{SEPARATOR}{key}": col for key, col in inner.items()})["_"]
            raise KeyError(f"no column {name!r}; there are {list(self.columns)}") from None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self.columns or any(key.startswith(name + SEPARATOR) for key in self.columns)
        )

    def __len__(self) -> int:
        """How many rows, sequences or episodes were drawn."""
        return len(self.handles)

    def __iter__(self) -> Iterator[Any]:
        """Row by row, as named tuples (a nested observation is a dict of its row's values)."""
        if self.lengths is not None:
            raise InvalidValue("These are whole episodes: iterate over batch.episodes().")
        names = tuple(dict.fromkeys(name.split(SEPARATOR)[0] for name in self.columns))
        row_type = _row_type(names)
        flat = all(SEPARATOR not in name for name in self.columns)
        for i in range(len(self)):
            row = {name: column[i] for name, column in self.columns.items()}
            yield row_type(*(row.values() if flat else nest(row).values()))

    def episodes(self) -> Iterator[dict[str, Array]]:
        """Whole episodes one by one, as flat columns of shape ``(length, ...)``."""
        if self.lengths is None:
            raise InvalidValue("This batch holds rows or sequences, not whole episodes.")
        end = 0
        for length in self.lengths.tolist():
            start, end = end, end + length
            yield {name: column[start:end] for name, column in self.columns.items()}

    def split(self, batch_size: int) -> list[Batch]:
        """Parts of ``batch_size`` rows (the last may be shorter), as views: nothing is copied."""
        if batch_size < 1:
            raise InvalidValue(f"batch_size is {batch_size}, must be at least 1.")
        if self.lengths is not None:
            raise InvalidValue("Whole episodes cannot be split by rows: iterate over batch.episodes().")
        parts = []
        for start in range(0, len(self), batch_size):
            part = slice(start, start + batch_size)
            parts.append(
                Batch(
                    {name: column[part] for name, column in self.columns.items()},
                    self.handles[part],
                    probabilities=None if self._probabilities is None else self._probabilities[part],
                    weights=None if self._weights is None else self._weights[part],
                    population=self.population,
                )
            )
        return parts

    def to_torch(self, device: Any = None, pin: bool = False) -> Batch:
        """The same batch as torch tensors.

        Without a device (or on the CPU) they share the memory of the arrays. ``pin`` copies to
        page-locked memory first, and the transfer to a CUDA device then does not block.
        """
        import torch

        def convert(array: Array | None) -> Any:
            if array is None:
                return None
            if isinstance(array, np.ndarray):
                if not array.flags.writeable or any(stride < 0 for stride in array.strides):
                    array = array.copy()  # torch cannot hold either
                array = torch.from_numpy(array)
            if pin:
                array = array.pin_memory()
            return array if device is None else array.to(device, non_blocking=pin)

        return Batch(
            {name: convert(column) for name, column in self.columns.items()},
            convert(self.handles),
            probabilities=convert(self.probabilities),
            weights=convert(self.weights),
            lengths=convert(self.lengths),
            population=self.population,
        )

    def to_tensordict(self, device: Any = None) -> Any:
        """A TensorDict of the (nested) columns with ``weights``, ``probabilities`` and ``handles`` beside."""
        try:
            from tensordict import TensorDict
        except ImportError as error:
            raise MissingDependency("to_tensordict() needs tensordict: pip install tensordict.") from error
        if self.lengths is not None:
            raise InvalidValue("Whole episodes differ in length: convert each of batch.episodes().")
        batch = self.to_torch(device)
        content = _dicts(batch.nested())
        for name in ("weights", "probabilities", "handles"):
            content.setdefault(name, getattr(batch, name))
        return TensorDict(content, batch_size=[len(self)], device=device)

    def __repr__(self) -> str:
        body = ", ".join(f"{name}: {c.dtype}{list(c.shape)}" for name, c in self.columns.items())
        return f"Batch({len(self)} rows; {body})"


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of the rows of several that have the same columns."""
    return Batch(
        {name: np.concatenate([b.columns[name] for b in batches]) for name in batches[0].columns},
        np.concatenate([b.handles for b in batches]),
        probabilities=np.concatenate([b.probabilities for b in batches]),
        weights=np.concatenate([b.weights for b in batches]),
        population=batches[0].population,
    )


def _dicts(node: Any) -> Any:
    """TensorDict nests dicts only: tuples become dicts with "0", "1", ... as keys."""
    if isinstance(node, tuple):
        return {str(i): _dicts(value) for i, value in enumerate(node)}
    if isinstance(node, dict):
        return {name: _dicts(value) for name, value in node.items()}
    return node


@lru_cache(maxsize=64)
def _row_type(names: tuple[str, ...]) -> Any:
    return namedtuple("Row", names, rename=True)  # the fields are known at run time only
