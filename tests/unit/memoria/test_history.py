"""The record of what became of every engram."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from memoria import Engrams, EngramType, HistoryManager, InvalidArgument, InvalidState, Memoria, UnknownEngram


@pytest.fixture
def told() -> tuple[Memoria, list[list[set[int]]], list[list[dict[int, float]]]]:
    """A network with history, and what was seen of it from outside: ids alive, and gains, by step and row."""
    torch.manual_seed(3)
    with pytest.warns(UserWarning, match="keep_history needs track"):
        network = Memoria(2, 3, 2, 3, 2, keep_history=True)
    assert network.track_age
    assert network.track_id
    alive, gains = [], []
    for _ in range(12):
        network.add_working_memory(torch.rand(2, 2, 3))
        _, indices = network.remind()
        delta = torch.randint(0, 4, indices.shape).float()
        ids = network.engrams.engram_ids
        assert ids is not None
        gains.append(
            [
                {int(ids[row, i]): float(d) for i, d in zip(indices[row], delta[row], strict=True) if i >= 0}
                for row in range(2)
            ]
        )
        network.adjust_lifespan_and_memories(indices, delta)
        ids = network.engrams.engram_ids
        assert ids is not None
        alive.append([{i for i in row if i >= 0} for row in ids.tolist()])
    return network, alive, gains


def test_each_row_has_its_own_record(told) -> None:
    network, alive, gains = told
    assert network.history is not None
    assert len(network.history) == 2
    for row, history in enumerate(network.history):
        assert history.timestep == 12
        assert [set(summary.engrams) for summary in history.summaries] == [step[row] for step in alive]
        assert set(history.alive_engram_ids) == alive[-1][row]
        ever = set().union(*(step[row] for step in alive))
        assert set(history.engram_ids) == ever
        assert set(history.deleted_engram_ids) == ever - alive[-1][row]
        assert history.deleted_engram_ids
        for time, firings in enumerate(history.firings_per_time):
            assert {f.engram_id: f.lifespan_gain for f in firings} == gains[time][row]
            assert all(firing.timestep == time for firing in firings)


def test_an_engram_can_be_inspected(told) -> None:
    network, alive, gains = told
    history = network.history[1]
    for engram in history.engram_ids:
        times = [time for time, step in enumerate(alive) if engram in step[1]]
        life = history.inspect(engram)
        assert life.creation_timestep == times[0] == engram // 2
        assert life.duration == len(times) == len(life.summaries)
        deleted = times[-1] + 1
        assert life.deletion_timestep == (deleted if deleted < 12 else None)
        assert history.engram_lastest_alive_timestep[engram] == times[-1]
        assert life.firing_times == [time for time, step in enumerate(gains) if engram in step[1]]
        assert len(life.firings) == history.engram_fire_counts.get(engram, 0)
        assert history.latest_engram_infos[engram] == life.summaries[-1].engrams[engram]
    with pytest.raises(UnknownEngram, match="no engram 999 in 12 timesteps"):
        history.inspect(999)


def test_summaries_hold_types_and_connections(told) -> None:
    network, _, _ = told
    engrams = network.engrams
    for row, summary in enumerate(engrams.status_summary()):
        counts, ids = engrams.induce_counts[row], engrams.engram_ids[row].tolist()
        place = {engram: ids.index(engram) for engram in summary.engrams}
        for engram, info in summary.engrams.items():
            column = place[engram]
            assert EngramType[info.type].value == int(engrams.engrams_types[row, column])
            assert info.lifespan == float(engrams.lifespan[row, column])
            assert info.age == int(engrams.age[row, column])
            assert info.fire_count == int(counts[column, column])
            assert len(info.outgoings) == int((counts[column] > 0).sum()) - (info.fire_count > 0)
        for (source, target), edge in summary.edges.items():
            assert edge.cofire_count == int(counts[place[source], place[target]])
            assert edge.weight == edge.cofire_count / summary.engrams[source].fire_count
            assert edge in summary.engrams[target].incoming
        assert set(summary.shortterm) | set(summary.longterm) == set(summary.engrams)
        assert not summary.working


def test_a_record_can_be_saved_without_pickle(told, tmp_path: Path) -> None:
    network, _, _ = told
    history = network.history[0]
    history.save(tmp_path / "history.json")
    loaded = HistoryManager.load(tmp_path / "history.json")
    assert loaded.summaries == history.summaries
    assert loaded.firings_per_time == history.firings_per_time
    assert loaded.engram_durations == history.engram_durations
    assert loaded.inspect(3) == history.inspect(3)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": "x"}', '{"format": "memoria-history-1"}', "\x80"]
)
def test_what_is_not_a_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "h").write_text(content, encoding="latin-1")
    with pytest.raises(InvalidState):
        HistoryManager.load(tmp_path / "h")


def test_a_summary_needs_ids() -> None:
    with pytest.raises(InvalidArgument, match="track_id"):
        Engrams(torch.rand(1, 2, 3)).status_summary()


def test_history_is_off_by_default_and_forgotten_on_reset(told) -> None:
    network, _, _ = told
    network.reset_memory()
    assert network.history is None
    assert len(network.engrams) == network.timestep == network.next_engram_id == 0
    plain = Memoria(2, 3, 2, 3, 2)
    plain.add_working_memory(torch.rand(1, 2, 3))
    assert plain.history is None
