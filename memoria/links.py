"""`strongest_links`: which engrams fire together most, for whoever looks at a network from outside."""

from __future__ import annotations

import numpy as np

from .engrams import Engrams
from .kernels import IntArray, LongArray


def strongest_links(engrams: Engrams, most: int, *, row: int = 0) -> tuple[LongArray, LongArray, IntArray]:
    """The links with the highest counts among the `most` engrams of a row that have fired most: the index
    of both ends (the lower one first) and the count of each, strongest first, at most `most` of them.

    Cost: the links of `most` engrams, and a few nanoseconds for each of the others.
    """
    none: LongArray = np.zeros(0, np.int64)
    if not len(engrams) or most < 1:
        return none, none, np.zeros(0, np.int32)
    slots, graph = engrams._slots[row], engrams._store.graph
    living = np.flatnonzero(engrams.engrams_types[row].cpu().numpy() != 0)
    fires = graph.fire_counts(slots[living])
    kept = min(most, len(living))
    busiest = living[np.sort(np.argpartition(-fires, kept - 1)[:kept])] if kept else living
    index_of = {int(slots[index]): int(index) for index in busiest}
    edges = graph.edges(slots[busiest])
    pairs = [
        (int(count), index_of[int(source)], index_of[int(target)])
        for source, target, count in zip(edges.sources, edges.targets, edges.counts, strict=True)
        if int(target) in index_of and index_of[int(source)] < index_of[int(target)]
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    counts, sources, targets = zip(*pairs[:most], strict=True) if pairs else ((), (), ())
    return np.asarray(sources, np.int64), np.asarray(targets, np.int64), np.asarray(counts, np.int32)
