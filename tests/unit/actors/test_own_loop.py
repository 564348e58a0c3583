"""Threads step into a loop while it waits: what runs there takes turns, whoever runs it."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memories.actors.own_loop import OwnLoop, outside, within


@pytest.fixture(scope="module")
def loop() -> OwnLoop:
    return OwnLoop("under test")


async def thread_after(pause_s: float | None) -> int:
    if pause_s is not None:
        await asyncio.sleep(pause_s)
    return threading.get_ident()


def test_what_need_not_wait_is_answered_in_the_thread_that_asks(loop: OwnLoop) -> None:
    assert loop.call(thread_after(None)) == threading.get_ident()


@pytest.mark.parametrize("pause_s", [0, 0.01])
def test_what_has_to_wait_goes_on_in_the_thread_of_the_loop(loop: OwnLoop, pause_s: float) -> None:
    assert loop.call(thread_after(pause_s)) != threading.get_ident()


@pytest.mark.parametrize("pause_s", [None, 0, 0.01])
def test_errors_reach_the_caller(loop: OwnLoop, pause_s: float | None) -> None:
    async def fail() -> None:
        await thread_after(pause_s)
        raise ValueError("so it is")

    with pytest.raises(ValueError, match="so it is"):
        loop.call(fail())


def test_all_who_step_in_and_all_that_runs_on_the_loop_take_turns(loop: OwnLoop) -> None:
    shared = {"count": 0}

    async def add(times: int, waits: bool) -> None:
        for _ in range(times):
            seen = shared["count"]
            for _ in range(20):
                pass
            shared["count"] = seen + 1
            if waits:
                await asyncio.sleep(0)

    def caller(number: int) -> None:
        for _ in range(200):
            loop.call(add(3, waits=number % 2 == 0))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(caller, range(8)))
    assert shared["count"] == 8 * 200 * 3


def test_a_busy_loop_lets_others_step_in(loop: OwnLoop) -> None:
    stop = False

    async def busy() -> None:
        while not stop:
            await asyncio.sleep(0)

    with ThreadPoolExecutor(1) as other:
        running = other.submit(loop.call, busy())
        time.sleep(0.02)
        began_s = time.monotonic()
        for _ in range(50):
            loop.call(thread_after(None))
        took_s = time.monotonic() - began_s
        stop = True
        running.result(10)
    assert took_s < 5, took_s


def test_who_steps_in_wakes_the_loop_for_what_is_to_be_done_there(loop: OwnLoop) -> None:
    events: list[Any] = []

    async def set_off() -> None:
        running = asyncio.get_running_loop()
        running.call_soon(events.append, "soon")
        running.call_later(0.05, events.append, "later")

    loop.call(set_off())
    ends_s = time.monotonic() + 5
    while len(events) < 2 and time.monotonic() < ends_s:
        time.sleep(0.005)
    assert events == ["soon", "later"]


def test_a_future_that_one_caller_waits_for_is_set_by_another(loop: OwnLoop) -> None:
    futures: list[asyncio.Future[int]] = []

    async def wait() -> int:
        futures.append(asyncio.get_running_loop().create_future())
        return await asyncio.shield(futures[0])

    async def answer() -> None:
        futures[0].set_result(7)

    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(loop.call, wait())
        while not futures:
            time.sleep(0.001)
        loop.call(answer())
        assert waiting.result(5) == 7


def test_what_is_begun_runs_up_to_its_first_wait_at_once(loop: OwnLoop) -> None:
    steps: list[str] = []
    kept: set[asyncio.Task[None]] = set()

    async def work(waits: bool) -> None:
        steps.append("begun")
        if waits:
            await asyncio.sleep(0.01)
            steps.append("ended")

    async def begin(waits: bool) -> tuple[int, list[str]]:
        loop.begin(work(waits), kept)
        seen, tasks = list(steps), list(kept)
        for task in tasks:
            await task
        return len(tasks), seen

    assert loop.call(begin(waits=False)) == (0, ["begun"])
    steps.clear()
    assert loop.call(begin(waits=True)) == (1, ["begun"])
    assert steps == ["begun", "ended"]
    assert not kept


def test_what_is_begun_can_be_cancelled(loop: OwnLoop) -> None:
    seen: list[str] = []
    kept: set[asyncio.Task[None]] = set()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def cancel() -> None:
        loop.begin(work(), kept)
        (task,) = kept
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop.call(cancel())
    assert seen == ["cancelled"]


def test_work_outside_is_done_by_the_thread_that_asks_and_lets_others_step_in(loop: OwnLoop) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def block() -> int:
        begun.set()
        assert may_end.wait(5)
        return threading.get_ident()

    async def work() -> tuple[int, int]:
        return await outside(block), threading.get_ident()

    def caller() -> tuple[tuple[int, int], int]:
        return loop.call(work()), threading.get_ident()

    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(caller)
        assert begun.wait(5)
        loop.call(thread_after(None))
        may_end.set()
        (did, went_on), asked = waiting.result(5)
    assert did == went_on == asked


def test_an_error_outside_is_the_coroutines(loop: OwnLoop) -> None:
    def fail() -> None:
        raise ValueError("so it is")

    async def work() -> str:
        try:
            await outside(fail)
        except ValueError as error:
            return str(error)
        return ""

    async def later() -> str:
        await asyncio.sleep(0)
        return await work()

    assert loop.call(work()) == loop.call(later()) == "so it is"


def test_who_waits_for_one_that_is_begun_goes_outside_for_it(loop: OwnLoop) -> None:
    """As a request waits for the answer to the one command that it has led to."""
    kept: set[asyncio.Task[None]] = set()

    async def ask() -> tuple[int, int]:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def command() -> None:
            answer.set_result(await outside(threading.get_ident))

        loop.begin(command(), kept)
        return await answer, threading.get_ident()

    assert loop.call(ask()) == (threading.get_ident(), threading.get_ident())
    assert not kept


def test_two_may_wait_for_the_same_while_one_is_outside(loop: OwnLoop) -> None:
    """As the repetition of a request does, while the command that it has led to is not answered."""
    answers: list[asyncio.Future[int]] = []
    may_end = threading.Event()

    async def first() -> int:
        answers.append(asyncio.get_running_loop().create_future())
        loop.begin(command(), set())
        return await answers[0]

    async def command() -> None:
        assert await outside(may_end.wait, 5)

    async def again() -> int:
        return await answers[0]

    async def answer() -> None:
        answers[0].set_result(7)

    with ThreadPoolExecutor(2) as others:
        waiting = others.submit(loop.call, first())
        while not answers:
            time.sleep(0.001)
        waiting_too = others.submit(loop.call, again())
        time.sleep(0.05)
        may_end.set()
        time.sleep(0.05)
        loop.call(answer())
        assert waiting.result(5) == waiting_too.result(5) == 7


@pytest.mark.parametrize("waits", [True, False])
def test_several_that_are_begun_wait_on_the_loop(loop: OwnLoop, waits: bool) -> None:
    kept: set[asyncio.Task[None]] = set()
    did: list[int] = []

    async def command() -> None:
        did.append(await outside(threading.get_ident))
        did.append(await outside(threading.get_ident))

    async def ask() -> None:
        for _ in range(3):
            loop.begin(command(), kept)
        if waits:
            await asyncio.sleep(0)

    loop.call(ask())
    ends_s = time.monotonic() + 5
    while len(did) < 6 and time.monotonic() < ends_s:
        time.sleep(0.005)
    assert len(did) == 6
    assert threading.get_ident() not in did


def test_waiting_has_an_end_also_before_the_first_wait(loop: OwnLoop) -> None:
    async def wait(pause_s: float) -> str:
        return await within(asyncio.sleep(pause_s, "slept"), 0.1)

    assert loop.call(wait(0.01)) == "slept"
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        loop.call(wait(30))
    assert time.monotonic() - began_s < 5


def test_waiting_that_is_given_up_ends_what_was_waited_for(loop: OwnLoop) -> None:
    ended: list[str] = []

    async def sleep() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("ended")

    async def give_up() -> None:
        task = asyncio.ensure_future(within(sleep(), 60))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)

    loop.call(give_up())
    assert ended == ["ended"]
