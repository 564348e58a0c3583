"""The Memoria network: working, short-term and long-term memory of a sequence model."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch

from . import checks
from .autograd import without_autograd
from .class_or_instance import OnClassOrInstance
from .draws import Draws
from .engram_type import EngramType
from .engrams import Engrams
from .errors import InvalidArgument, InvalidShape, InvalidState, InvalidType, MemoriaError, NoWorkingMemory
from .history import HistoryManager
from .packing import left_packed, taken
from .recall import RecallSettings, recall
from .state import (
    State,
    about_tensor,
    checked_state,
    engrams_from_state,
    engrams_state,
    read_state,
    save_state,
)

Mode = Literal["reference", "paper"]
TieBreak = Literal["random", "first"]


class Memoria:
    """Memory of B independent sequences, after Park and Bak, ICML 2024.

    A step is `add_working_memory`, `remind`, `adjust_lifespan_and_memories`. Row b of a batch behaves as
    it would alone. Index -1 means "none" everywhere.

    `mode="paper"` is the paper's algorithm. `mode="reference"` (the default) adds what the public
    implementation adds: each short-term engram that was not kept starts a search of its own, from a
    long-term engram drawn at random (the strongest link of the newest working engram, which has none
    yet); while there is short-term but no long-term memory, the oldest engram is brought back; and a
    search that has run out of long-term engrams adds a zero vector, index -1, that competes for the
    final places.

    `tie_break="random"` settles ties for the first step of a search by `generator`, by default one that
    seeds itself from torch's global generator when it is first needed or saved; `"first"` takes the
    oldest.

    State lives on `device` (by default where the first data is), in float32 whatever the data's dtype;
    memories come back on the data's device and in its dtype. A call that raises has changed nothing.
    Not thread-safe: one caller at a time.

    Examples:
        >>> network = Memoria(
        ...     num_reminded_stm=4, stm_capacity=16, ltm_search_depth=5, initial_lifespan=3, num_final_ltms=4
        ... )
        >>> for segment in torch.rand(3, 2, 8, 64):
        ...     network.add_working_memory(segment)
        ...     memories, indices = network.remind()
        ...     network.adjust_lifespan_and_memories(indices, torch.ones(indices.shape))
        >>> network.timestep, memories.shape[0], memories.shape[2]
        (3, 2, 64)
    """

    def __init__(
        self,
        num_reminded_stm: int,
        stm_capacity: int,
        ltm_search_depth: int,
        initial_lifespan: float,
        num_final_ltms: int,
        track_age: bool = False,
        track_id: bool = False,
        keep_history: bool = False,
        device: str | torch.device | None = None,
        *,
        mode: Mode = "reference",
        tie_break: TieBreak = "random",
        generator: torch.Generator | None = None,
    ) -> None:
        """
        Args:
            num_reminded_stm: short-term engrams that a step brings back.
            stm_capacity: short-term engrams that are kept before the oldest become long-term.
            ltm_search_depth: steps of the search through long-term memory.
            initial_lifespan: steps that a new engram lives unless it is extended.
            num_final_ltms: long-term engrams that a step brings back.
            track_age: keep the age of each engram.
            track_id: keep an id that stays with each engram.
            keep_history: record every step in `history` (slow, for analysis); turns on the two above.
        """
        self.num_reminded_stm = checks.whole_number("num_reminded_stm", num_reminded_stm, 1)
        self.stm_capacity = checks.whole_number("stm_capacity", stm_capacity, 1)
        self.ltm_search_depth = checks.whole_number("ltm_search_depth", ltm_search_depth, 0)
        self.initial_lifespan = checks.positive_number("initial_lifespan", initial_lifespan)
        self.num_final_ltms = checks.whole_number("num_final_ltms", num_final_ltms, 1)
        if mode not in ("reference", "paper"):
            raise InvalidArgument(f"mode is {mode!r}; give 'reference' or 'paper'")
        if tie_break not in ("random", "first"):
            raise InvalidArgument(f"tie_break is {tie_break!r}; give 'random' or 'first'")
        if generator is not None and not isinstance(generator, torch.Generator):
            raise InvalidType(f"generator is a {type(generator).__name__}; give a torch.Generator")
        for name, tracked in (("track_age", track_age), ("track_id", track_id)):
            if keep_history and not tracked:
                warnings.warn(f"keep_history needs {name}, which is on now", stacklevel=2)
        self.track_age = bool(track_age or keep_history)
        self.track_id = bool(track_id or keep_history)
        self.keep_history = bool(keep_history)
        self.device = None if device is None else checks.usable_device(device)
        self.mode = mode
        self.tie_break = tie_break
        self.generator = generator
        self._draws = Draws(generator)
        self.reset_memory()

    def __repr__(self) -> str:
        return (
            f"Memoria(num_reminded_stm={self.num_reminded_stm}, stm_capacity={self.stm_capacity}, "
            f"ltm_search_depth={self.ltm_search_depth}, initial_lifespan={self.initial_lifespan}, "
            f"num_final_ltms={self.num_final_ltms}, mode={self.mode!r}, engrams={self.engrams!r})"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that a saved state has to agree with."""
        names = (
            "num_reminded_stm", "stm_capacity", "ltm_search_depth", "initial_lifespan", "num_final_ltms",
            "track_age", "track_id", "keep_history", "mode", "tie_break",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def reset_memory(self) -> None:
        """Forgets everything: no engrams, ids from 0, timestep 0, no history."""
        self.engrams = Engrams.empty(self.track_age, self.track_id)
        self.next_engram_id = 0
        self.timestep = 0
        self.history: list[HistoryManager] | None = None
        self._data_device = torch.device("cpu")
        self._data_dtype = torch.float32

    @without_autograd
    def add_working_memory(self, data: torch.Tensor) -> None:
        """Appends `data` [B, W, D] as working engrams with `initial_lifespan`; time goes on by one."""
        checks.float_tensor("data", data, rank=3, shape_means="[batch, memory, hidden]")
        batch_size, number, hidden_dim = data.shape
        if not data.numel():
            raise InvalidShape(f"data has shape {tuple(data.shape)}; no axis may be empty")
        stored = self.engrams
        if stored.batch_size and (batch_size, hidden_dim) != (stored.batch_size, stored.hidden_dim):
            raise InvalidShape(
                f"data has batch size {batch_size} and hidden size {hidden_dim}; stored are "
                f"{stored.batch_size} and {stored.hidden_dim}. Call reset_memory() to start anew"
            )
        device = stored.device if stored.batch_size else self.device or data.device
        vectors = data.detach().to(device, torch.float32)
        checks.all_finite("data", vectors)
        stored.append(vectors, self.initial_lifespan, self.next_engram_id)
        self._data_device, self._data_dtype = data.device, data.dtype
        self.next_engram_id += number
        self.timestep += 1
        if self.keep_history and self.history is None:
            self.history = [HistoryManager() for _ in range(batch_size)]

    @without_autograd
    def remind(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the working memory reminds of: memories [B, R, D] and their indices [B, R] int64.

        Indices are ascending and each is there once, then -1 (with a zero vector): once where a row left
        something out, and as padding. All working and reminded engrams of a row have then fired together.
        """
        engrams = self.engrams
        types = engrams.host_types()
        if not (types == EngramType.WORKING.value).any():
            raise NoWorkingMemory(
                "there is no working memory to be reminded by; call add_working_memory(data) in each step"
            )
        settings = RecallSettings(
            self.num_reminded_stm, self.ltm_search_depth, self.num_final_ltms, self.mode == "reference"
        )
        draws = self._draws.uniform if self.tie_break == "random" else None
        recalled = recall(engrams, settings, draws)
        engrams.wire(recalled.fired)

        number = recalled.reminded.sum(axis=1)
        width = int((number + recalled.has_none).max())
        packed = left_packed(recalled.reminded)
        # left_packed has the -1 first; turn each row so that they come last.
        turned = (np.arange(width)[None] + packed.shape[1] - number[:, None]).astype(np.int64)
        indices = taken(packed, np.where(np.arange(width) < number[:, None], turned, -1), -1)
        memories = engrams.store.read(taken(engrams.slots, indices, -1))
        return (
            memories.to(self._data_device, self._data_dtype),
            torch.from_numpy(indices).to(self._data_device),
        )

    @without_autograd
    def adjust_lifespan_and_memories(self, indices: torch.Tensor, lifespan_delta: torch.Tensor) -> None:
        """Ends a step: `lifespan_delta` [B, R] goes to the engrams at `indices` [B, R], then all age by one.

        Working engrams become short-term, the oldest short-term ones beyond `stm_capacity` long-term, and
        engrams without lifespan are removed.
        """
        engrams = self.engrams
        ids = engrams.engram_ids if self.history is not None else None
        engrams.extend_lifespan(indices, lifespan_delta)
        engrams.decrease_lifespan()
        engrams.increase_age()
        self._promote()
        alive = engrams.host_types() != EngramType.NULL.value
        engrams.keep_only(alive & (engrams.lifespan > 0).cpu().numpy())
        if self.history is not None and ids is not None:
            self._record(self.history, ids, indices, lifespan_delta)

    @without_autograd
    def state_dict(self) -> State:
        """Everything that the next steps depend on, as a dict of tensors on the CPU (copies)."""
        about = {
            "settings": self.settings,
            "next_engram_id": self.next_engram_id,
            "timestep": self.timestep,
            "dtype": str(self._data_dtype).removeprefix("torch."),
            "history": None if self.history is None else [history.to_json() for history in self.history],
        }
        return {
            **engrams_state(self.engrams),
            "generator": self._draws.state(will_draw=self.tie_break == "random"),
            "about": about_tensor(about),
        }

    @without_autograd
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Takes over what `state_dict` of a network with the same settings gave, the random state included.

        Engrams go to `device`, or stay on the device that they are on. A generator that was passed to the
        constructor is set to the saved state.

        Raises:
            InvalidState: the state is damaged, or of a network with other settings.
        """
        arrays, about = checked_state(state)
        if about.get("settings") != self.settings:
            raise InvalidState(
                f"the state is of a network with {about.get('settings')}; this one has {self.settings}"
            )
        try:
            dtype = getattr(torch, about["dtype"])
            next_engram_id, timestep = int(about["next_engram_id"]), int(about["timestep"])
            saved = about["history"]
            history = None if saved is None else [HistoryManager.from_json(row) for row in saved]
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InvalidState(f"'about' of the state cannot be read: {error!r}") from error
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise InvalidState(f"the state names dtype {about['dtype']!r}")
        device = self.device or (self.engrams.device if self.engrams.batch_size else torch.device("cpu"))
        engrams = engrams_from_state(arrays, device)
        if (engrams.track_age, engrams.track_engram_id) != (self.track_age, self.track_id):
            raise InvalidState("the state tracks other things (age, ids) than its settings say")
        rows = engrams.batch_size if self.keep_history and engrams.batch_size else None
        if (None if history is None else len(history)) != rows:
            raise InvalidState(
                f"the state has a history of {len(history or ())} rows; keep_history is {self.keep_history} "
                f"and it has {engrams.batch_size} rows of engrams"
            )
        self._draws.set_state(arrays["generator"])
        self.engrams, self.history = engrams, history
        self.next_engram_id, self.timestep = next_engram_id, timestep
        self._data_device, self._data_dtype = device, dtype

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes `state_dict` to a safetensors file; an existing one is replaced in one step."""
        save_state(self.state_dict(), path)

    def _load(self, path: str | os.PathLike[str]) -> Memoria:
        self.load_state_dict(read_state(path))
        return self

    @classmethod
    def _loaded(
        cls,
        path: str | os.PathLike[str],
        device: str | torch.device | None = None,
        generator: torch.Generator | None = None,
    ) -> Memoria:
        device = None if device is None else checks.usable_device(device)
        state = read_state(path)
        _, about = checked_state(state)
        try:
            network = cls(**about["settings"], device=device, generator=generator)
        except (KeyError, TypeError, MemoriaError) as error:
            raise InvalidState(f"the settings in {os.fspath(path)} cannot be used: {error}") from error
        network.load_state_dict(state)
        return network

    load = OnClassOrInstance(_loaded, _load)
    """``network.load(path)`` restores into this network (settings have to agree) and returns it;
    ``Memoria.load(path, device=None, generator=None)`` makes a network with the saved settings."""

    def _promote(self) -> None:
        """Working engrams become short-term, and the oldest beyond the capacity long-term."""
        engrams = self.engrams
        types = engrams.host_types()
        recent = (types == EngramType.WORKING.value) | (types == EngramType.SHORTTERM.value)
        rows, columns = np.nonzero(recent)
        newer_or_same = np.searchsorted(rows, rows, side="right") - np.arange(len(rows))
        kinds = np.where(
            newer_or_same > self.stm_capacity, EngramType.LONGTERM.value, EngramType.SHORTTERM.value
        ).astype(np.uint8)
        where = tuple(torch.from_numpy(part).to(engrams.device) for part in (rows, columns))
        engrams.engrams_types[where] = torch.from_numpy(kinds).to(engrams.device)

    def _record(
        self,
        history: list[HistoryManager],
        ids: torch.Tensor,
        indices: torch.Tensor,
        lifespan_delta: torch.Tensor,
    ) -> None:
        """Adds the step that ends to the history; `ids` and `indices` are those of before the removals."""
        rows = zip(ids.tolist(), indices.tolist(), lifespan_delta.tolist(), strict=True)
        summaries = self.engrams.status_summary()
        for row, (row_ids, row_indices, row_deltas) in enumerate(rows):
            gains: Counter[int] = Counter()
            for index, delta in zip(row_indices, row_deltas, strict=True):
                if index >= 0 and row_ids[index] >= 0:
                    gains[row_ids[index]] += delta
            history[row].add_firings(gains)
            history[row].add_summary(summaries[row])
