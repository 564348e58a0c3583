"""A command that a tier actor drops is answered all the same: whoever sent it holds a thread until then."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from memories.actors import wire
from memories.actors.core.commands import CopyMany, MarkMany, MemberCommand, ResetMember, TakeInventory
from memories.actors.core.events import Done, InventoryReported
from memories.actors.core.model import STAMP_BITS, Fence, Kind, MemberInfo, Outcome, Refusal, Version
from memories.actors.core.tier import Action, Fetch, Fetched, Respond, Slot, TierCore, Write, Written
from memories.actors.exchange import Received
from memories.actors.own_loop import OwnLoop
from memories.actors.tier_actor import TierActor
from memories.tiers.blobs import Blob
from memories.tiers.memory_blobs import MemoryBlobs
from memories.tiers.query import MetadataIndex
from memories.tiers.record import Record

LIFE = 7
SIZE = 1000


def member(*, durable: bool = False) -> MemberInfo:
    return MemberInfo("n1/tier", "n1", "tier", LIFE, durable, 1 << 30)


def fence(number: int, epoch: int = 1, settled: int = 0) -> Fence:
    base = epoch << STAMP_BITS
    return Fence("n1/tier", LIFE, epoch, base + number, base + settled)


def copy(number: int, key: str = "a") -> CopyMany:
    return CopyMany(fence(number), "n2/tier", 1, (key,), (Version(1, number),), (SIZE,))


def mark(number: int, key: str = "a") -> MarkMany:
    return MarkMany(fence(number), Kind.TOMBSTONE, Version(1, number), (key,), {})


def answers(actions: list[Action]) -> dict[int, Refusal | None]:
    """What was said to whom, by the command's number."""
    said = {}
    for action in actions:
        if isinstance(action, Respond) and isinstance(action.answer, Done):
            said[action.answer.stamp & 0xFFFF] = action.answer.refusal
    return said


def fetched(fetch: Action) -> Fetched:
    assert isinstance(fetch, Fetch)
    slots = tuple(Slot(version, Kind.VALUE, SIZE, ()) for version in fetch.command.versions)
    return Fetched(fetch.ticket, slots)


def test_a_copy_that_comes_when_another_coordinator_has_taken_over_is_refused() -> None:
    tier = TierCore(member())
    (fetch,) = tier.handle(copy(1))
    tier.handle(TakeInventory(fence(1, epoch=2)))
    assert answers(tier.handle(fetched(fetch))) == {1: Refusal.EPOCH}
    assert not tier.is_running(fence(1).stamp)


def test_what_waits_for_a_key_is_refused_when_another_coordinator_takes_over() -> None:
    tier = TierCore(member())
    (write,) = tier.handle(mark(1))
    assert tier.handle(mark(2)) == []
    assert answers(tier.handle(TakeInventory(fence(1, epoch=2)))) == {2: Refusal.EPOCH}
    assert isinstance(write, Write)
    assert answers(tier.handle(Written(write.ticket)))[1] is None


@pytest.mark.parametrize("durable", [False, True])
def test_everything_under_way_is_answered_after_a_reset(durable: bool) -> None:
    tier = TierCore(member(durable=durable))
    (fetch,) = tier.handle(copy(1, "b"))
    (write,) = tier.handle(mark(2))
    tier.handle(mark(3))
    tier.handle(TakeInventory(fence(4)))
    said = answers(tier.reset(ResetMember("n1/tier", LIFE, 1), LIFE + 1))
    said |= answers(tier.handle(fetched(fetch)))
    assert isinstance(write, Write)
    said |= answers(tier.handle(Written(write.ticket)))
    written = None if durable else Refusal.INCARNATION  # what is on a disk stays
    assert said == {1: Refusal.INCARNATION, 2: written, 3: Refusal.INCARNATION, 4: Refusal.INCARNATION}
    assert not any(tier.is_running(fence(number).stamp) for number in range(1, 5))


def test_an_inventory_that_a_later_coordinator_asks_for_as_well_is_refused_to_the_first() -> None:
    tier = TierCore(member())
    tier.handle(mark(1))
    tier.handle(TakeInventory(fence(2, epoch=2)))
    assert answers(tier.handle(TakeInventory(fence(3, epoch=3)))) == {2: Refusal.EPOCH}


class SlowExchange:
    """Values come when they are let."""

    def __init__(self) -> None:
        self.may_come = threading.Event()

    def note_name(self, member: str, name: str) -> None:
        pass

    async def fetch(self, command: CopyMany) -> tuple[tuple[Slot, ...], list[Received]]:
        while not self.may_come.is_set():
            await asyncio.sleep(0.005)
        slots, received = [], []
        for key, version in zip(command.keys, command.versions, strict=True):
            record = Record(key=key, version=version, lengths=(SIZE,))
            received.append(Received(record, Blob(record, (memoryview(bytes(SIZE)),)), None))
            slots.append(Slot(version, Kind.VALUE, SIZE, ()))
        return tuple(slots), received


def without_ray() -> Any:
    """A tier actor to whom nothing has been given yet."""
    return TierActor.__new__(TierActor)


class Shell:
    """A tier actor in its loop, without Ray, and threads that call it."""

    def __init__(self, loop: OwnLoop) -> None:
        self.loop = loop
        self.exchange = SlowExchange()
        self.blobs = MemoryBlobs()
        self.actor = without_ray()
        self.actor._medium = SimpleNamespace(disk=None, in_memory=True, blobs=self.blobs)
        self.actor._blobs, self.actor._metadata = self.blobs, MetadataIndex()
        self.actor._core = TierCore(member())
        self.actor._answers, self.actor._fetched, self.actor._tasks = {}, {}, set()
        self.actor._exchange = self.exchange
        self.actor.reads = self.actor.writes = 0
        self.threads = ThreadPoolExecutor(16)

    def begin(self, command: MemberCommand) -> Future[Any]:
        """Call from a thread, as Ray does, and wait until the actor has begun."""
        stamp = command.fence.stamp
        done = self.threads.submit(lambda: wire.load(self.loop.call(self.actor.execute(command, "source"))))
        eventually(lambda: done.done() or stamp in self.actor._answers)
        return done

    def reset(self) -> None:
        self.loop.call(self.actor.order(ResetMember("n1/tier", LIFE, 1)))

    def holds_nothing(self) -> bool:
        return not (self.actor._answers or self.actor._fetched or self.actor._core._running)


def eventually(holds: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.002)


@pytest.fixture(scope="module")
def loop() -> OwnLoop:
    return OwnLoop("under test")


@pytest.fixture
def shell(loop: OwnLoop) -> Iterator[Shell]:
    made = Shell(loop)
    yield made
    made.exchange.may_come.set()
    made.threads.shutdown(cancel_futures=True)


def test_no_thread_and_no_byte_is_kept_when_another_coordinator_takes_over(shell: Shell) -> None:
    calls = [shell.begin(copy(number, f"k{number}")) for number in range(1, 5)]
    assert isinstance(shell.begin(TakeInventory(fence(1, epoch=2))).result(10), InventoryReported)
    shell.exchange.may_come.set()
    assert [call.result(10).refusal for call in calls] == [Refusal.EPOCH] * 4
    assert shell.holds_nothing()


def test_no_thread_and_no_byte_is_kept_after_a_reset(shell: Shell) -> None:
    call = shell.begin(copy(1))
    shell.reset()
    shell.exchange.may_come.set()
    assert call.result(10).refusal is Refusal.INCARNATION
    assert shell.holds_nothing()
    assert shell.blobs.used_bytes == 0


def test_a_command_that_is_repeated_while_it_runs_holds_no_further_thread(shell: Shell) -> None:
    first = shell.begin(copy(1))
    assert [shell.begin(copy(1)).result(10).refusal for _ in range(3)] == [Refusal.RUNNING] * 3
    shell.exchange.may_come.set()
    assert first.result(10) == Done("n1/tier", LIFE, fence(1).stamp)
    assert shell.begin(copy(1)).result(10) == first.result()
    assert shell.holds_nothing()
    assert shell.blobs.used_bytes == SIZE


def test_what_was_to_be_written_is_not_when_everything_has_been_wiped_meanwhile(shell: Shell) -> None:
    core = shell.actor._core
    (fetch,) = core.handle(copy(1))
    (write,) = core.handle(fetched(fetch))
    shell.reset()
    assert shell.loop.call(shell.actor._put(write)) == (Outcome.ERROR,)
    assert shell.blobs.used_bytes == 0
