"""One act of reminding: which short-term and long-term engrams the working memory brings back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from .engram_type import EngramType
from .engrams import Engrams
from .kernels import FloatArray, LongArray
from .packing import BoolArray
from .search import LongtermSearch


@dataclass(frozen=True)
class RecallSettings:
    num_reminded_stm: int
    ltm_search_depth: int
    num_final_ltms: int
    reference_extras: bool
    """Also what the public reference adds to the paper; see `Memoria`."""


@dataclass(frozen=True)
class Recalled:
    """Masks over all slots [B, M]; `has_none` [B] says which rows count -1 among their values."""

    fired: BoolArray
    reminded: BoolArray
    has_none: BoolArray


@dataclass(frozen=True)
class _Choice:
    """Engrams (row, column) with their squared distance to what is being thought of."""

    rows: LongArray
    columns: LongArray
    distance: FloatArray

    def nearest(self, number: int) -> BoolArray:
        """Which are among the `number` nearest of their row; of equally near ones the oldest come first."""
        order = np.lexsort((self.columns, self.distance, self.rows))
        sorted_rows = self.rows[order]
        first_of_row = np.searchsorted(sorted_rows, sorted_rows, side="left")
        kept = np.zeros(len(order), dtype=np.bool_)
        kept[order[np.arange(len(order)) - first_of_row < number]] = True
        return kept


def recall(engrams: Engrams, settings: RecallSettings, draw: Callable[[int], FloatArray] | None) -> Recalled:
    """Finds what the working memory reminds of; changes nothing.

    `draw(n)` gives n uniform numbers for breaking ties; without it the oldest wins. Mean (and sum) of the
    squared distances to all working engrams differ from the squared distance to their centre only by
    something that is the same for every candidate, so that one distance a candidate decides the order.
    """
    types = engrams.host_types()
    working = types == EngramType.WORKING.value
    shortterm = (types == EngramType.SHORTTERM.value) & working.any(axis=1)[:, None]
    centres = _centres(engrams, working)

    rows, columns = np.nonzero(shortterm)
    choice = _measured(engrams, rows, columns, centres)
    kept = choice.nearest(settings.num_reminded_stm)
    reminded = np.zeros_like(working)
    reminded[choice.rows[kept], choice.columns[kept]] = True
    has_none = np.zeros(len(working), dtype=np.bool_)
    has_none[choice.rows[~kept]] = True

    candidate_rows, candidate_columns = _longterm_candidates(
        engrams, types, choice, kept, working, settings, draw
    )
    final = _measured(engrams, candidate_rows, candidate_columns, centres)
    wins = final.nearest(settings.num_final_ltms)
    null = final.columns == _NULL_COLUMN
    has_none[final.rows[wins & null]] = True
    reminded[final.rows[wins & ~null], final.columns[wins & ~null]] = True
    return Recalled(reminded | working, reminded, has_none)


_NULL_COLUMN = np.iinfo(np.int64).max
"""Stands for the null candidate, a zero vector; sorts behind all engrams."""


def _longterm_candidates(
    engrams: Engrams,
    types: npt.NDArray[np.uint8],
    choice: _Choice,
    kept: BoolArray,
    working: BoolArray,
    settings: RecallSettings,
    draw: Callable[[int], FloatArray] | None,
) -> tuple[LongArray, LongArray]:
    """Rows and columns of the engrams that compete for the final places."""
    slots = engrams.slots
    longterm = types == EngramType.LONGTERM.value
    longterm_count = longterm.sum(axis=1)
    has_longterm = longterm_count > 0

    starting = kept & has_longterm[choice.rows]
    sources = slots[choice.rows, choice.columns][starting]
    source_rows = choice.rows[starting]
    if settings.reference_extras:
        # An engram that was not kept starts from the row of the newest working engram.
        others = choice.rows[~kept & has_longterm[choice.rows]]
        newest = types.shape[1] - 1 - working[:, ::-1].argmax(axis=1)
        sources = np.concatenate([sources, slots[others, newest[others]]])
        source_rows = np.concatenate([source_rows, others])

    rows, columns = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    if len(sources):
        draws = None if draw is None else draw(len(sources))
        search = LongtermSearch(engrams.store.graph, slots[longterm], longterm_count)
        found = search.run(sources, source_rows, settings.ltm_search_depth, draws)
        rows, columns = found.rows, engrams.columns_of(found.rows, found.slots)
        if settings.reference_extras:
            exhausted = np.flatnonzero(found.exhausted)
            rows = np.concatenate([rows, exhausted])
            columns = np.concatenate([columns, np.full(len(exhausted), _NULL_COLUMN)])
    if settings.reference_extras:
        without = np.flatnonzero(~has_longterm & (np.bincount(choice.rows, minlength=len(types)) > 0))
        oldest = (types != EngramType.NULL.value).argmax(axis=1)[without]
        rows, columns = np.concatenate([rows, without]), np.concatenate([columns, oldest])
    return rows, columns


def _centres(engrams: Engrams, working: BoolArray) -> torch.Tensor:
    """The mean of each row's working engrams, [B, D] float64; zeros for a row that has none."""
    rows, columns = np.nonzero(working)
    number = working.sum(axis=1)
    vectors = engrams.store.read(engrams.slots[rows, columns]).double()
    if (number == number[0]).all():
        return vectors.reshape(len(working), int(number[0]), -1).mean(dim=1)
    sums = torch.zeros(len(working), engrams.hidden_dim, dtype=torch.float64, device=engrams.device)
    sums.index_add_(0, torch.from_numpy(rows).to(engrams.device), vectors)
    return sums / torch.from_numpy(np.maximum(number, 1)).to(engrams.device)[:, None]


def _measured(engrams: Engrams, rows: LongArray, columns: LongArray, centres: torch.Tensor) -> _Choice:
    null = columns == _NULL_COLUMN
    slots = np.where(null, -1, engrams.slots[rows, np.where(null, 0, columns)])
    distance = engrams.store.squared_distances(slots, rows, centres)
    return _Choice(rows, columns, distance.cpu().numpy())
