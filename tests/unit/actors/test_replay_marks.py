"""Which numbered batches were taken, in whatever order they came."""

from __future__ import annotations

import random

from memories.actors.replay.core.draws import Mass, shares_of, without
from memories.actors.replay.core.marks import Marks


def test_marks_are_a_set_in_little_room() -> None:
    rng = random.Random(0)
    for _ in range(50):
        marks, taken = Marks(), set()
        in_flight: list[int] = []
        number = 0
        for _ in range(300):
            if len(in_flight) < 8 and rng.random() < 0.6:
                number += 1
                in_flight.append(number)
            elif in_flight:
                batch = rng.choice(in_flight)
                floor = min(in_flight)
                assert (("w", 0, batch) in marks) == (batch in taken)
                marks.add("w", 0, batch, floor)
                taken.add(batch)
                if rng.random() < 0.7:  # the answer arrives; otherwise it is sent again
                    in_flight.remove(batch)
        for batch in range(1, number + 1):
            if batch in taken:
                assert ("w", 0, batch) in marks
        assert ("w", 0, number + 1) not in marks
        ((_, _, low, above),) = marks.export()
        assert low >= min(in_flight, default=number + 1) - 9  # nothing is kept of what was answered long ago
        assert all(n > low for n in above)


def test_merged_marks_are_the_union() -> None:
    first, second = Marks(), Marks()
    for number in (1, 2, 5):
        first.add("w", 0, number, 1)
    for number in (3, 6):
        second.add("w", 0, number, 1)
    second.add("v", 1, 1, 1)
    first.merge(second.export())
    taken = [n for n in range(1, 8) if ("w", 0, n) in first]
    assert taken == [1, 2, 3, 5, 6]
    assert ("v", 1, 1) in first


def test_shares_keep_a_floor_and_stand_huge_sums() -> None:
    shares = shares_of({0: Mass(0.0, 0, 1.0), 1: Mass(1e290, 5, 1.0), 2: Mass(1e290, 5, 1.0)})
    assert 0 < shares[0] < 0.01
    assert abs(shares[1] - shares[2]) < 1e-12
    assert abs(sum(shares.values()) - 1) < 1e-12
    assert without(shares, {1, 2}) == {0: 1.0}
    assert without(shares, {0, 1, 2}) == {}
