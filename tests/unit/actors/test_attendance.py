"""Who counts as lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memories.actors.core.attendance import TOLERATED, Attendance
from memories.actors.core.model import MemberInfo

WARM = MemberInfo("n1/warm", "n1", "warm", 7, False, 100)
ALIVE = {"n1", "n2"}


@pytest.fixture
def attendance() -> Attendance:
    made = Attendance()
    made.expect("n1/warm0", "n1", "warm")
    return made


def test_a_silent_member_is_lost_and_comes_back_when_it_answers(attendance: Attendance) -> None:
    attendance.answered("n1/warm0", WARM)
    for _ in range(TOLERATED - 1):
        attendance.missed("n1/warm0")
    assert not attendance.is_lost(WARM, ALIVE)
    assert list(attendance.present()) == []  # what it said before it fell silent is not said again
    attendance.missed("n1/warm0")
    assert attendance.is_lost(WARM, ALIVE)
    attendance.answered("n1/warm0", WARM)
    assert not attendance.is_lost(WARM, ALIVE)
    assert list(attendance.present()) == [WARM]


def test_a_member_of_a_dead_node_is_lost_even_if_nobody_ever_heard_it(attendance: Attendance) -> None:
    """A new coordinator finds it in the view only: its node died together with the old coordinator."""
    gone = MemberInfo("disk-a/cold", "n3", "cold", 1, True, 100)
    assert attendance.is_lost(gone, ALIVE)


def test_a_member_that_a_new_coordinator_has_not_heard_yet_gets_its_time(attendance: Attendance) -> None:
    assert not attendance.is_lost(WARM, ALIVE)
    for _ in range(TOLERATED):
        attendance.missed("n1/warm0")
    assert attendance.is_lost(WARM, ALIVE)


def test_an_earlier_life_is_over_when_the_next_one_answers(attendance: Attendance) -> None:
    attendance.answered("n1/warm0", WARM)
    attendance.answered("n1/warm0", replace(WARM, incarnation=8))
    assert attendance.is_lost(WARM, ALIVE)
    assert not attendance.is_lost(replace(WARM, incarnation=8), ALIVE)


def test_a_disk_that_another_member_has_taken_the_place_of_is_lost(attendance: Attendance) -> None:
    attendance.expect("n1/cold0", "n1", "cold")
    old = MemberInfo("disk-a/cold", "n1", "cold", 1, True, 100)
    assert not attendance.is_lost(old, ALIVE)
    attendance.answered("n1/cold0", replace(old, member="disk-b/cold"))
    assert attendance.is_lost(old, ALIVE)


def test_a_process_that_is_dead_for_certain_is_lost_at_once(attendance: Attendance) -> None:
    attendance.answered("n1/warm0", WARM)
    attendance.died("n1/warm0")
    assert attendance.is_lost(WARM, ALIVE)
