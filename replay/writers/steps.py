"""Reading what a user passes for one environment step: names, shapes and flags are checked here."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidType, InvalidValue
from ..schema import flatten
from .columns import Columns, as_column, as_flags

REWARD = "reward"
TERMINATED = "terminated"
TRUNCATED = "truncated"


class StepReader:
    """Turns keyword arguments into checked arrays; keeps no step itself."""

    def __init__(self, num_envs: int, required: Sequence[str] = (REWARD, TERMINATED, TRUNCATED)) -> None:
        if num_envs < 1:
            raise InvalidValue(f"num_envs begins at 1; got {num_envs}.")
        self.num_envs = num_envs
        self._required = tuple(required)

    def read_one(self, env_id: SupportsIndex, step: Mapping[str, Any]) -> tuple[int, Columns]:
        """One step of one environment; the arrays have the shape of one item."""
        try:
            stream = operator.index(env_id)
        except TypeError:
            raise InvalidType(f"env_id is an integer; got {env_id!r}.") from None
        if not 0 <= stream < self.num_envs:
            raise InvalidValue(f"env_id lies in 0..{self.num_envs - 1}; got {stream}.")
        row = self._read(step)
        for name in self._required:
            if row[name].ndim:
                raise InvalidValue(
                    f"{name!r} is one number for one step; got shape {row[name].shape}. "
                    "For a vector environment use add_vector."
                )
        return stream, row

    def read_each(
        self, env_ids: Sequence[int] | NDArray[Any] | None, steps: Mapping[str, Any]
    ) -> tuple[NDArray[np.int64], Columns]:
        """One step of each environment in ``env_ids`` (default: all); the arrays have one row each."""
        streams = self.read_ids(env_ids)
        rows = self._read(steps)
        for name, array in rows.items():
            if array.ndim == 0 or len(array) != len(streams):
                raise InvalidValue(
                    f"Column {name!r} needs one row for each of the {len(streams)} environments; "
                    f"got shape {array.shape}."
                )
            if name in self._required and array.ndim != 1:
                raise InvalidValue(f"{name!r} has one number a step; got shape {array.shape}.")
        return streams, rows

    def read_ids(self, env_ids: Sequence[int] | NDArray[Any] | None) -> NDArray[np.int64]:
        """Different environments by number; None means all."""
        if env_ids is None:
            return np.arange(self.num_envs)
        given = np.asarray(env_ids)
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise InvalidType(f"env_ids is a list of integers; got {env_ids!r}.")
        streams = given.astype(np.int64)
        if given.size and (streams.min() < 0 or streams.max() >= self.num_envs):
            raise InvalidValue(f"env_ids lie in 0..{self.num_envs - 1}; got {streams.tolist()}.")
        if len(np.unique(streams)) != len(streams):
            raise InvalidValue(f"Each environment takes one step a call; got {streams.tolist()}.")
        return streams

    def _read(self, step: Mapping[str, Any]) -> Columns:
        row = {name: as_column(name, value) for name, value in flatten(step).items()}
        missing = [name for name in self._required if name not in row]
        if missing:
            hint = ""
            if "done" in row and (TERMINATED in self._required):
                hint = " 'done' mixes the two ways an episode ends: pass terminated and truncated."
            raise InvalidValue(f"A step needs {', '.join(missing)}; got {', '.join(sorted(row))}.{hint}")
        for name in (TERMINATED, TRUNCATED):
            if name in row:
                row[name] = as_flags(name, row[name])
        if REWARD in row and row[REWARD].dtype.kind in "biu":
            row[REWARD] = row[REWARD].astype(np.float64)  # sums of discounted rewards are no integers
        return row
