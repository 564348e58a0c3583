"""What a Memoria network looks like from outside: counts, lifespans and the strongest links."""

from __future__ import annotations

from memoria import Memoria
from memoria.links import strongest_links

from .reports import LIFESPAN_EDGES, EngramLink, Histogram, SessionReport

SHOWN_LINKS = 40
WORKING, SHORTTERM, LONGTERM = 1, 2, 3


def report_session(name: str, network: Memoria) -> SessionReport:
    """One session. Cost: a few passes over the engrams' types and lifespans, and 40 engrams' links."""
    engrams = network.engrams
    types = engrams.engrams_types
    lifespans = engrams.lifespan[types != 0].float().cpu().numpy()
    sources, targets, counts = strongest_links(engrams, SHOWN_LINKS)
    shown = sorted({int(index) for index in (*sources, *targets)})
    return SessionReport(
        session=name,
        timestep=network.timestep,
        working=int((types == WORKING).sum()),
        shortterm=int((types == SHORTTERM).sum()),
        longterm=int((types == LONGTERM).sum()),
        lifespans=Histogram.of(lifespans, LIFESPAN_EDGES) if lifespans.size else Histogram(),
        strongest=tuple(
            EngramLink(source=int(source), target=int(target), count=int(count))
            for source, target, count in zip(sources, targets, counts, strict=True)
        ),
        types=tuple((index, int(types[0, index])) for index in shown),
    )
