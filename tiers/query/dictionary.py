"""Dictionary encoding: each distinct value is kept once, and columns hold its code.

A test of text then costs one look at each distinct text, done by Arrow's compiled kernels over one
contiguous buffer, and one gather of the answers by code.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .shared_numbers import shared_number

Value = TypeVar("Value")
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_SWEEP_SLACK = 1024
_REMEMBERED_MASKS = 4


class Dictionary(Generic[Value]):
    """Codes 0, 1, 2, ... for distinct values, found by a hashable key.

    Codes are never reused in place: values that no cell uses any more are dropped by `retain`, which
    the owner calls when `wants_sweep` says that enough new ones came in to pay for it.
    """

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._codes: dict[Hashable, int] = {}
        self._kept_by_last_sweep = 0

    def __len__(self) -> int:
        return len(self.values)

    def encode(self, key: Hashable, value: Value) -> int:
        """The code of ``key``, a new one with ``value`` if it was not there."""
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = shared_number(len(self.values))
            self.values.append(value)
        return code

    def find(self, key: Hashable) -> int | None:
        return self._codes.get(key)

    def wants_sweep(self, cell_count: int) -> bool:
        """Whether enough values came in since the last sweep to pay for looking at all cells."""
        return len(self.values) > 2 * self._kept_by_last_sweep + cell_count // 8 + _SWEEP_SLACK

    def retain(self, live_codes: IntArray) -> IntArray:
        """Drop every value whose code is not in ``live_codes``; returns the new code of each old one."""
        alive = np.zeros(len(self.values), np.bool_)
        alive[live_codes] = True
        kept = np.flatnonzero(alive)
        renumbered = np.zeros(len(self.values), np.int64)
        renumbered[kept] = np.arange(len(kept))
        living = alive.tolist()
        self._codes = {
            key: shared_number(int(renumbered[code])) for key, code in self._codes.items() if living[code]
        }
        self.values = [self.values[code] for code in kept.tolist()]
        self._kept_by_last_sweep = len(kept)
        return renumbered


class TextDictionary(Dictionary[str]):
    """Distinct texts, with tests over all of them at once."""

    def __init__(self) -> None:
        super().__init__()
        self._forget_arrow()

    def _forget_arrow(self) -> None:
        self._chunks: list[pa.Array] = []
        self._chunked_count = 0
        self._masks: dict[tuple[str, str], BoolArray] = {}

    def encode_text(self, text: str) -> int:
        code = self._codes.get(text)
        if code is None:
            code = self._codes[text] = shared_number(len(self.values))
            self.values.append(text)
        return code

    def retain(self, live_codes: IntArray) -> IntArray:
        self._forget_arrow()
        return super().retain(live_codes)

    def mask_where_regex(self, pattern: str) -> BoolArray:
        """For each code, whether the RE2 ``pattern`` is found in its text."""
        return self._mask(("regex", pattern))

    def answers_for(self, codes: IntArray, test_kind: str, operand: str) -> BoolArray:
        """The same answers for some codes only; ``test_kind`` is "regex" or a side."""
        question = (test_kind, operand)
        if question in self._masks or 4 * len(codes) > len(self.values):
            return self._mask(question)[codes]
        distinct, inverse = np.unique(codes, return_inverse=True)
        texts = pa.array([self.values[code] for code in distinct.tolist()], pa.large_string())
        answers: BoolArray = _ask(texts, question).to_numpy(zero_copy_only=False)
        return answers[inverse]

    def order(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The codes sorted by text (code points), and the place of each code in that order."""
        chunks = self._texts()
        texts = pa.chunked_array(chunks, pa.large_string())
        codes = pc.sort_indices(texts).to_numpy().astype(np.int32)
        places = np.empty(len(codes), np.int32)
        places[codes] = np.arange(len(codes), dtype=np.int32)
        return codes, places

    def _mask(self, question: tuple[str, str]) -> BoolArray:
        # Codes only grow between sweeps, so an answer stays right for the codes that it covered. A few are
        # remembered: a query that is asked again pays only for the texts that came since.
        known = self._masks.pop(question, None)
        known_count = 0 if known is None else len(known)
        answers: list[Any] = [] if known is None else [known]
        position = 0
        for chunk in self._texts():
            end = position + len(chunk)
            if end > known_count:
                part = chunk.slice(max(known_count - position, 0))
                answers.append(_ask(part, question).to_numpy(zero_copy_only=False))
            position = end
        mask: BoolArray = np.concatenate(answers) if answers else np.zeros(0, np.bool_)
        self._masks[question] = mask
        if len(self._masks) > _REMEMBERED_MASKS:
            del self._masks[next(iter(self._masks))]
        return mask

    def _texts(self) -> list[pa.Array]:
        """Everything as Arrow arrays; only texts that came since the last call are converted."""
        if self._chunked_count < len(self.values):
            self._chunks.append(pa.array(self.values[self._chunked_count :], pa.large_string()))
            self._chunked_count = len(self.values)
            # Merge as a binary counter does: few chunks, each text copied a logarithmic number of times.
            while len(self._chunks) > 1 and 2 * len(self._chunks[-1]) > len(self._chunks[-2]):
                self._chunks[-2:] = [pa.concat_arrays(self._chunks[-2:])]
        return self._chunks

    def nbytes_of_arrow(self) -> int:
        return sum(chunk.nbytes for chunk in self._chunks)


def _ask(texts: pa.Array, question: tuple[str, str]) -> pa.Array:
    kind, operand = question
    match kind:
        case "regex":
            return pc.match_substring_regex(texts, operand)
        case "gt":
            return pc.greater(texts, operand)
        case "gte":
            return pc.greater_equal(texts, operand)
        case "lt":
            return pc.less(texts, operand)
        case _:
            return pc.less_equal(texts, operand)
