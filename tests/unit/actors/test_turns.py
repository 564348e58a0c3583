"""No two requests that run at the same time have the same name."""

from __future__ import annotations

from contextlib import ExitStack

from memories.actors.turns import Turns


def test_one_thread_has_one_name_and_rising_numbers() -> None:
    turns = Turns("client")
    ids = []
    for _ in range(3):
        with turns.take() as request:
            ids.append(request)
    assert [number for _, number in ids] == [1, 2, 3]
    assert len({name for name, _ in ids}) == 1


def test_requests_that_run_together_have_names_of_their_own_which_are_used_again() -> None:
    turns = Turns("client")
    with ExitStack() as stack:
        together = [stack.enter_context(turns.take()) for _ in range(5)]
    assert len({name for name, _ in together}) == 5
    with turns.take() as first, turns.take() as second:
        assert {first.client, second.client} < {name for name, _ in together}
        assert first.client != second.client
        assert first.sequence == second.sequence == 2


def test_a_failed_request_gives_its_name_back() -> None:
    turns = Turns("client")
    for _ in range(2):
        try:
            with turns.take() as request:
                raise ValueError
        except ValueError:
            pass
    assert request == ("client.0", 2)
