"""What became of every engram: a record for analysis and plots."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .engram_type import EngramType
from .errors import InvalidArgument, InvalidState, UnknownEngram

if TYPE_CHECKING:
    from .engrams import Engrams

_FORMAT = "memoria-history-1"


@dataclass(frozen=True)
class EngramConnection:
    """Two engrams that fired together: how often, and as a share of the source's firings."""

    source_id: int
    target_id: int
    weight: float
    cofire_count: int


@dataclass(frozen=True)
class EngramInfo:
    """One engram at one time. `type` is the name of an `EngramType`; `age` is None if not tracked."""

    id: int
    type: str
    lifespan: float
    age: int | None
    fire_count: int
    outgoings: tuple[EngramConnection, ...] = ()
    incoming: tuple[EngramConnection, ...] = ()


@dataclass(frozen=True)
class EngramsInfo:
    """One row of engrams at one time; edges by (source id, target id)."""

    engrams: dict[int, EngramInfo]
    edges: dict[tuple[int, int], EngramConnection]
    working: tuple[int, ...]
    shortterm: tuple[int, ...]
    longterm: tuple[int, ...]


@dataclass(frozen=True)
class Firing:
    """An engram that was brought back, and the lifespan that it gained by it."""

    timestep: int
    engram_id: int
    lifespan_gain: float


@dataclass(frozen=True)
class EngramHistory:
    """The life of one engram. `deletion_timestep` is None while it lives."""

    id: int
    creation_timestep: int
    deletion_timestep: int | None
    duration: int
    firing_times: list[int]
    firings: list[Firing]
    summaries: list[EngramsInfo]


class HistoryManager:
    """The record of one batch row, one entry a timestep (from 0). Memory grows with every step kept.

    Examples:
        >>> import torch
        >>> from memoria import Memoria
        >>> network = Memoria(2, 4, 3, 3, 2, track_age=True, track_id=True, keep_history=True)
        >>> network.add_working_memory(torch.rand(1, 4, 8))
        >>> memories, indices = network.remind()
        >>> network.adjust_lifespan_and_memories(indices, torch.zeros(indices.shape))
        >>> len(network.history)  # one for each row of the batch
        1
    """

    def __init__(self) -> None:
        self.summaries: list[EngramsInfo] = []
        self.firings_per_time: list[list[Firing]] = []
        self.engram_creation_times: dict[int, int] = {}
        self.engram_deletion_times: dict[int, int] = {}
        self.engram_firings: dict[int, list[Firing]] = {}

    @property
    def timestep(self) -> int:
        """Timesteps recorded so far."""
        return len(self.summaries)

    @property
    def engram_ids(self) -> list[int]:
        """All engrams that were ever there at the end of a timestep."""
        return sorted(self.engram_creation_times)

    @property
    def alive_engram_ids(self) -> list[int]:
        return [i for i in self.engram_ids if i not in self.engram_deletion_times]

    @property
    def deleted_engram_ids(self) -> list[int]:
        return sorted(self.engram_deletion_times)

    @property
    def engram_durations(self) -> dict[int, int]:
        """Timesteps from creation to deletion, or to now."""
        return {
            i: self.engram_deletion_times.get(i, self.timestep) - created
            for i, created in self.engram_creation_times.items()
        }

    @property
    def engram_firing_times(self) -> dict[int, list[int]]:
        return {i: [firing.timestep for firing in firings] for i, firings in self.engram_firings.items()}

    @property
    def engram_fire_counts(self) -> dict[int, int]:
        """How often each engram was brought back (its firings as working memory are not in it)."""
        return {i: len(firings) for i, firings in self.engram_firings.items()}

    @property
    def engram_lastest_alive_timestep(self) -> dict[int, int]:
        """The last timestep at whose end each engram was alive."""
        return {i: self.engram_deletion_times.get(i, self.timestep) - 1 for i in self.engram_creation_times}

    @property
    def latest_engram_infos(self) -> dict[int, EngramInfo]:
        """Each engram as it was when last seen alive."""
        return {
            i: self.summaries[timestep].engrams[i]
            for i, timestep in self.engram_lastest_alive_timestep.items()
        }

    def add_firings(self, gains: Counter[int] | dict[int, float]) -> None:
        """Records what was brought back in the timestep that is being recorded: lifespan gain by id."""
        firings = [Firing(self.timestep, engram_id, float(gain)) for engram_id, gain in gains.items()]
        self.firings_per_time.append(firings)
        for firing in firings:
            self.engram_firings.setdefault(firing.engram_id, []).append(firing)

    def add_summary(self, summary: EngramsInfo) -> None:
        """Ends a timestep with what is there now."""
        if len(self.firings_per_time) == self.timestep:
            self.firings_per_time.append([])
        for engram_id in summary.engrams:
            self.engram_creation_times.setdefault(engram_id, self.timestep)
        for engram_id in self.summaries[-1].engrams if self.summaries else ():
            if engram_id not in summary.engrams:
                self.engram_deletion_times[engram_id] = self.timestep
        self.summaries.append(summary)

    def inspect(self, engram_id: int) -> EngramHistory:
        """The life of one engram.

        Raises:
            UnknownEngram: no engram with this id was there at the end of any timestep.
        """
        if engram_id not in self.engram_creation_times:
            raise UnknownEngram(
                f"no engram {engram_id} in {self.timestep} timesteps with {len(self.engram_ids)} engrams"
                + (f" from {self.engram_ids[0]} to {self.engram_ids[-1]}" if self.engram_ids else "")
            )
        created = self.engram_creation_times[engram_id]
        last = self.engram_lastest_alive_timestep[engram_id]
        firings = self.engram_firings.get(engram_id, [])
        return EngramHistory(
            engram_id,
            created,
            self.engram_deletion_times.get(engram_id),
            self.engram_durations[engram_id],
            [firing.timestep for firing in firings],
            list(firings),
            self.summaries[created : last + 1],
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the record as JSON; an existing file is replaced in one step."""
        partial = Path(f"{os.fspath(path)}.{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps(self.to_json()), encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> HistoryManager:
        """Reads what `save` wrote.

        Raises:
            InvalidState: the file is something else.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
        except ValueError as error:
            if isinstance(error, InvalidState):
                raise InvalidState(f"{os.fspath(path)}: {error}") from error
            raise InvalidState(f"{os.fspath(path)} is not a saved history: {error!r}") from error

    def to_json(self) -> dict[str, Any]:
        """The record as what JSON knows."""
        return {
            "format": _FORMAT,
            "summaries": [_summary_to_json(summary) for summary in self.summaries],
            "firings": [
                [[firing.engram_id, firing.lifespan_gain] for firing in firings]
                for firings in self.firings_per_time
            ],
        }

    @classmethod
    def from_json(cls, content: Any) -> HistoryManager:
        """The record that `to_json` gave.

        Raises:
            InvalidState: it is something else.
        """
        try:
            if content["format"] != _FORMAT:
                raise InvalidState(f"the history has format {content['format']!r}, not {_FORMAT!r}")
            history = cls()
            for firings, summary in zip(content["firings"], content["summaries"], strict=True):
                history.add_firings({int(engram_id): float(gain) for engram_id, gain in firings})
                history.add_summary(_summary_from_json(summary))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            if isinstance(error, InvalidState):
                raise
            raise InvalidState(f"not a saved history: {error!r}") from error
        return history


def summarize(engrams: Engrams) -> list[EngramsInfo]:
    """What each row of `engrams` holds now."""
    if engrams.engram_ids is None:
        raise InvalidArgument("a summary names engrams by id; create them with track_id (track_engram_id) on")
    types = engrams.host_types().tolist()
    ids = engrams.engram_ids.tolist()
    lifespans = engrams.lifespan.tolist()
    ages = None if engrams.age is None else engrams.age.tolist()
    fire_counts = engrams.fire_count.tolist()
    edges: list[list[tuple[int, int, int]]] = [[] for _ in types]
    pairs = engrams.cofirings()
    parts = (pairs.rows, pairs.sources, pairs.targets, pairs.counts)
    for row, source, target, count in zip(*(part.tolist() for part in parts), strict=True):
        edges[row].append((source, target, count))
    summaries = []
    for row, row_types in enumerate(types):
        infos = {
            ids[row][column]: EngramInfo(
                ids[row][column],
                EngramType(kind).name,
                lifespans[row][column],
                None if ages is None else ages[row][column],
                fire_counts[row][column],
            )
            for column, kind in enumerate(row_types)
            if kind != EngramType.NULL.value
        }
        connections = (
            EngramConnection(
                ids[row][source], ids[row][target], count / max(1, fire_counts[row][source]), count
            )
            for source, target, count in sorted(edges[row])
        )
        summaries.append(_summary(infos, list(connections)))
    return summaries


def _summary(infos: dict[int, EngramInfo], connections: list[EngramConnection]) -> EngramsInfo:
    outgoings: dict[int, list[EngramConnection]] = {i: [] for i in infos}
    incoming: dict[int, list[EngramConnection]] = {i: [] for i in infos}
    for connection in connections:
        outgoings[connection.source_id].append(connection)
        incoming[connection.target_id].append(connection)
    engrams = {
        i: dataclasses.replace(info, outgoings=tuple(outgoings[i]), incoming=tuple(incoming[i]))
        for i, info in infos.items()
    }
    return EngramsInfo(
        engrams,
        {(connection.source_id, connection.target_id): connection for connection in connections},
        _of_type(engrams, EngramType.WORKING),
        _of_type(engrams, EngramType.SHORTTERM),
        _of_type(engrams, EngramType.LONGTERM),
    )


def _of_type(engrams: dict[int, EngramInfo], kind: EngramType) -> tuple[int, ...]:
    return tuple(i for i, info in engrams.items() if info.type == kind.name)


def _summary_to_json(summary: EngramsInfo) -> dict[str, Any]:
    return {
        "engrams": [[e.id, e.type, e.lifespan, e.age, e.fire_count] for e in summary.engrams.values()],
        "edges": [[e.source_id, e.target_id, e.weight, e.cofire_count] for e in summary.edges.values()],
    }


def _summary_from_json(content: dict[str, Any]) -> EngramsInfo:
    infos = [EngramInfo(*engram) for engram in content["engrams"]]
    return _summary({info.id: info for info in infos}, [EngramConnection(*edge) for edge in content["edges"]])
