"""The co-firing graph against a dense matrix, with both kernels."""

import numpy as np
import pytest

from memoria import _kernels_numpy
from memoria.graph import CofiringGraph


class DenseGraph:
    """The same, as the matrix that it stands for."""

    def __init__(self) -> None:
        self.counts = np.zeros((0, 0), dtype=np.int32)
        self.alive = np.zeros(0, dtype=bool)

    def add(self, number: int) -> None:
        self.counts = np.pad(self.counts, (0, number))
        self.alive = np.r_[self.alive, np.ones(number, dtype=bool)]


def random_life(seed: int, steps: int) -> tuple[CofiringGraph, DenseGraph]:
    """A graph and its matrix after a life of firing in two rows, dying and renumbering."""
    rng = np.random.default_rng(seed)
    graph, dense = CofiringGraph(), DenseGraph()
    row_of = np.zeros(0, dtype=np.int64)
    for _ in range(steps):
        number = int(rng.integers(1, 6))
        graph.add_nodes(number)
        dense.add(number)
        row_of = np.r_[row_of, rng.integers(0, 2, number)]
        rows = [np.flatnonzero(dense.alive & (row_of == row)) for row in range(2)]
        fired = [np.sort(rng.permutation(nodes)[: rng.integers(0, 12)]) for nodes in rows]
        graph.wire(np.concatenate(fired), np.array([0, len(fired[0]), len(fired[0]) + len(fired[1])]))
        for nodes in fired:
            dense.counts[np.ix_(nodes, nodes)] += 1
        if rng.random() < 0.5:
            living = np.flatnonzero(dense.alive)
            dead = rng.permutation(living)[: rng.integers(0, 4)]
            graph.drop(dead)
            dense.alive[dead] = False
            dense.counts[dead] = 0
            dense.counts[:, dead] = 0
        if rng.random() < 0.1:
            stays = np.flatnonzero(dense.alive)
            new_of_old = np.full(len(dense.alive), -1, dtype=np.int64)
            new_of_old[stays] = np.arange(len(stays))
            graph.renumber(new_of_old, len(stays))
            dense.counts, dense.alive = dense.counts[np.ix_(stays, stays)], dense.alive[stays]
            row_of = row_of[stays]
    return graph, dense


def as_matrix(graph: CofiringGraph, alive: np.ndarray) -> np.ndarray:
    nodes = np.flatnonzero(alive)
    matrix = np.zeros((len(alive), len(alive)), dtype=np.int32)
    edges = graph.edges(nodes)
    matrix[edges.sources, edges.targets] = edges.counts
    matrix[nodes, nodes] = graph.fire_counts(nodes)
    return matrix


@pytest.fixture(params=["numpy", "numba"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MEMORIA_KERNELS", request.param)
    # Small pools and chunks, so that every path is taken.
    monkeypatch.setattr("memoria.graph._FIRST_POOL_ENTRIES", 4)
    monkeypatch.setattr("memoria.graph._FIRST_NODES", 2)
    monkeypatch.setattr(_kernels_numpy, "_REPACK_ENTRIES", 16)
    return str(request.param)


@pytest.mark.parametrize("seed", range(5))
def test_the_graph_holds_what_the_matrix_holds(kernels: str, seed: int) -> None:
    graph, dense = random_life(seed, 80)
    assert np.array_equal(as_matrix(graph, dense.alive), dense.counts)


@pytest.mark.parametrize("seed", range(5))
def test_the_strongest_link_is_that_of_the_matrix(kernels: str, seed: int) -> None:
    graph, dense = random_life(seed, 60)
    rng = np.random.default_rng(seed)
    sources = np.flatnonzero(dense.alive)
    free = (dense.alive & (rng.random(len(dense.alive)) < 0.6)).astype(np.uint8)
    linked = np.where(free[None] != 0, dense.counts, 0)
    np.fill_diagonal(linked, 0)
    first = graph.strongest(sources, free)
    some = linked[sources].max(axis=1) > 0
    assert np.array_equal(first[some], linked[sources].argmax(axis=1)[some])
    assert (first[~some] == -1).all()

    drawn = graph.strongest(sources, free, rng.random(len(sources)))
    assert (linked[sources[some], drawn[some]] == linked[sources].max(axis=1)[some]).all()
    assert (drawn[~some] == -1).all()
    for source in sources[some][:5]:
        ties = np.flatnonzero(linked[source] == linked[source].max())
        draws = (np.arange(len(ties)) + 0.5) / len(ties)
        reached = graph.strongest(np.full(len(ties), source), free, draws)
        assert np.array_equal(np.sort(reached), ties)


def test_both_kernels_keep_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry for entry: a run can change kernels in the middle and draw the same ties."""
    lists = []
    for kernels in ("numpy", "numba"):
        monkeypatch.setenv("MEMORIA_KERNELS", kernels)
        graph, dense = random_life(9, 80)
        edges = graph.edges(np.flatnonzero(dense.alive))
        lists.append(np.stack([edges.sources, edges.targets, edges.counts]))
    assert np.array_equal(*lists)
