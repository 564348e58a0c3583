"""The co-firing counts of rows of engrams, between their sparse graph and indices.

`slots` [B, M] says which graph node each engram is, -1 in padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .graph import CofiringGraph
from .kernels import IntArray, LongArray


@dataclass(frozen=True)
class Cofirings:
    """Pairs of different engrams of a row that fired together: indices, and how often."""

    rows: LongArray
    sources: LongArray
    targets: LongArray
    counts: IntArray


def cofirings(graph: CofiringGraph, slots: LongArray) -> Cofirings:
    """All pairs of these engrams, those of one source side by side, in list order."""
    rows, columns = np.nonzero(slots >= 0)
    nodes = slots[rows, columns]
    row_of_node = np.full(graph.node_count, -1, dtype=np.int64)
    column_of_node = np.zeros(graph.node_count, dtype=np.int64)
    row_of_node[nodes] = rows
    column_of_node[nodes] = columns
    edges = graph.edges(nodes)
    inside = row_of_node[edges.targets] >= 0
    sources, targets = edges.sources[inside], edges.targets[inside]
    return Cofirings(
        row_of_node[sources], column_of_node[sources], column_of_node[targets], edges.counts[inside]
    )


def fire_counts(graph: CofiringGraph, slots: LongArray) -> IntArray:
    """[B, M] int32, 0 in padding."""
    counts = np.zeros(slots.shape, dtype=np.int32)
    used = slots >= 0
    counts[used] = graph.fire_counts(slots[used])
    return counts


def dense_counts(graph: CofiringGraph, slots: LongArray) -> IntArray:
    """[B, M, M] int32 with the fire counts on the diagonal."""
    batch_size, memory_length = slots.shape
    counts = np.zeros((batch_size, memory_length, memory_length), dtype=np.int32)
    pairs = cofirings(graph, slots)
    counts[pairs.rows, pairs.sources, pairs.targets] = pairs.counts
    diagonal = np.arange(memory_length)
    counts[:, diagonal, diagonal] = fire_counts(graph, slots)
    return counts


def set_dense_counts(graph: CofiringGraph, slots: LongArray, counts: IntArray) -> None:
    """Replaces all counts of these engrams by those of [B, M, M]; padding is left out."""
    used = slots >= 0
    pairs = used[:, :, None] & used[:, None, :] & (counts > 0)
    diagonal = np.arange(slots.shape[1])
    pairs[:, diagonal, diagonal] = False
    rows, sources, targets = np.nonzero(pairs)
    nodes = slots[used]
    graph.set_fire_counts(nodes, counts[:, diagonal, diagonal][used])
    graph.set_edges(nodes, pairs.sum(axis=2)[used], slots[rows, targets], counts[rows, sources, targets])


def copy_counts(graph: CofiringGraph, slots: LongArray, to_graph: CofiringGraph, to_slots: LongArray) -> None:
    """Gives engrams without counts those of others; ``to_slots[b, m]`` is the copy of ``slots[b, m]``.

    An engram may be copied several times; its copies count as having fired together whenever it did.
    """
    used = slots >= 0
    if len(np.unique(slots[used])) < np.count_nonzero(used):
        _copy_repeated_counts(graph, slots, to_graph, to_slots)
        return
    pairs = cofirings(graph, slots)
    per_engram = np.bincount(pairs.rows * slots.shape[1] + pairs.sources, minlength=slots.size)
    nodes = to_slots[used]
    to_graph.set_fire_counts(nodes, graph.fire_counts(slots[used]))
    to_graph.set_edges(
        nodes, per_engram.reshape(slots.shape)[used], to_slots[pairs.rows, pairs.targets], pairs.counts
    )


def _copy_repeated_counts(
    graph: CofiringGraph, slots: LongArray, to_graph: CofiringGraph, to_slots: LongArray
) -> None:
    batch_size, memory_length = slots.shape
    counts = np.zeros((batch_size, memory_length, memory_length), dtype=np.int32)
    for row in range(batch_size):  # rare and small: a selection that names an engram twice
        places = np.flatnonzero(slots[row] >= 0)
        once, which = np.unique(slots[row, places], return_inverse=True)
        among = dense_counts(graph, once[None])[0]
        counts[row, places[:, None], places] = among[which[:, None], which]
    set_dense_counts(to_graph, to_slots, counts)


def same_counts(graph: CofiringGraph, slots: LongArray, other: CofiringGraph, other_slots: LongArray) -> bool:
    """Whether two groups of engrams of one shape have equal counts."""
    if not np.array_equal(fire_counts(graph, slots), fire_counts(other, other_slots)):
        return False
    mine, theirs = _in_order(cofirings(graph, slots)), _in_order(cofirings(other, other_slots))
    return all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def _in_order(pairs: Cofirings) -> tuple[LongArray | IntArray, ...]:
    order = np.lexsort((pairs.targets, pairs.sources, pairs.rows))
    return pairs.rows[order], pairs.sources[order], pairs.targets[order], pairs.counts[order]
