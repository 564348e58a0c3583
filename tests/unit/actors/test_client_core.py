"""What a client repeats, and when it gives up."""

from __future__ import annotations

import pytest

from memories.actors.core.client import ClientCore, Complete, ReadFrom, Send
from memories.actors.core.commands import Located, Reply
from memories.actors.core.events import CopyCorrupt, DeleteMany, LocateMany
from memories.actors.core.model import Outcome, Version

PLACES = (("n1/warm", 1), ("n2/warm", 2))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(clock: Clock) -> ClientCore:
    return ClientCore("c", "n1", clock, resend_after_s=2.0)


def located(client: ClientCore, *places: tuple[str, int], key: str = "a") -> list[ReadFrom]:
    (send,) = client.read(1, (key,), 10.0)
    assert isinstance(send, Send)
    assert isinstance(send.event, LocateMany)
    where = Located(Outcome.OK, Version(1, 1), 10, places)
    actions = client.replied(Reply(send.event.request, located=(where,)))
    return [action for action in actions if isinstance(action, ReadFrom)]


def test_a_request_is_repeated_with_its_id_until_it_is_answered(client: ClientCore, clock: Clock) -> None:
    event = DeleteMany(client.next_request(), ("a",))
    assert client.call(1, event, 10.0) == [Send(event)]
    clock.now = 2.0
    assert client.tick() == [Send(event)]
    reply = Reply(event.request)
    assert client.replied(reply) == [Complete(1, reply)]
    assert client.replied(reply) == []


def test_a_request_without_an_answer_ends_at_its_deadline(client: ClientCore, clock: Clock) -> None:
    client.call(1, DeleteMany(client.next_request(), ("a",)), 10.0)
    clock.now = 10.0
    assert client.tick() == [Complete(1)]


def test_a_failure_is_not_certain_once_the_request_was_repeated(client: ClientCore, clock: Clock) -> None:
    event = DeleteMany(client.next_request(), ("a", "b"))
    client.call(1, event, 10.0)
    clock.now = 2.0
    client.tick()
    (complete,) = client.replied(Reply(event.request, (Outcome.OK, Outcome.FULL)))
    assert isinstance(complete, Complete)
    assert complete.reply is not None
    assert complete.reply.outcomes == (Outcome.OK, Outcome.UNKNOWN)


def test_a_corrupt_copy_is_reported_and_another_one_read(client: ClientCore, clock: Clock) -> None:
    (read,) = located(client, *PLACES)
    (report,) = client.read_done(read, (Outcome.CORRUPT,))
    assert report == Send(CopyCorrupt("a", Version(1, 1), "n1/warm", 1))
    clock.now = 1.0
    (send,) = client.tick()
    assert isinstance(send, Send)
    assert isinstance(send.event, LocateMany)
    where = Located(Outcome.OK, Version(1, 1), 10, PLACES)
    (again,) = client.replied(Reply(send.event.request, located=(where,)))
    assert isinstance(again, ReadFrom)
    assert again.visit.member == "n2/warm"
    assert client.read_done(again, (Outcome.OK,)) == [Complete(1, None, (Outcome.OK,))]


def test_an_absent_key_is_an_answer_and_an_unavailable_one_is_asked_again(
    client: ClientCore, clock: Clock
) -> None:
    (send,) = client.read(1, ("a", "b"), 10.0)
    assert isinstance(send, Send)
    assert isinstance(send.event, LocateMany)
    answers = (Located(Outcome.MISSING), Located(Outcome.UNAVAILABLE))
    assert client.replied(Reply(send.event.request, located=answers)) == []
    clock.now = 1.0
    (again,) = client.tick()
    assert isinstance(again, Send)
    assert isinstance(again.event, LocateMany)
    assert again.event.keys == ("b",)
    clock.now = 10.0
    assert Complete(1, None, (Outcome.MISSING, Outcome.UNAVAILABLE)) in client.tick()
