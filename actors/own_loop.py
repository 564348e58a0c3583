"""`OwnLoop`: an event loop in a thread of its own, whose place other threads take while it waits.

A call that nothing keeps waiting is answered in the thread that Ray called, without a change of threads;
one that has to wait goes on in the loop's thread. All that runs on the loop, and all who step in, take
turns: what they share needs no other lock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import selectors
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError

T = TypeVar("T")
PATIENCE_S = 0.25
"""So long a thread waits outside by itself: what takes longer is left to the loop, which hears of it as well
when somebody else has what the caller waits for."""
GIVE_WAY_S = 20e-6
"""So long a busy loop waits for those who wait for it: who releases a lock has it again before they wake."""


class _GivesWay(selectors.DefaultSelector):
    """Whoever has the turn gives it up while this waits for something to happen."""

    def __init__(self, turn: threading.Lock, waiting: list[None]) -> None:
        super().__init__()
        self._turn = turn
        self._waiting = waiting

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._turn.release()
        try:
            if self._waiting and timeout is not None and timeout <= 0:
                time.sleep(GIVE_WAY_S)
            return super().select(timeout)
        finally:
            self._turn.acquire()


class _Outside:
    """Work for the thread that has stepped in, to be done without the turn."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._error: BaseException | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Callable[[], Any]:
        """Do it; how the coroutine goes on that waits for it."""
        with self:
            return partial(coroutine.send, self._work())
        return partial(coroutine.throw, self._error)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """An error is the coroutine's."""
        self._error = error
        return isinstance(error, Exception)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A coroutine that was begun and waits for work outside."""

    coroutine: Coroutine[Any, Any, None]
    outside: _Outside
    kept: set[asyncio.Task[None]]


class _NobodyGoes(Exception):
    """There is no thread that could go outside."""


class OwnLoop(asyncio.SelectorEventLoop):
    """Runs from its beginning to the end of the process."""

    def __init__(self, name: str) -> None:
        self._turn = threading.Lock()
        self._waiting: list[None] = []
        self.stepped_in = False
        self._has_work = False
        self._begun: list[_Waiting] = []
        super().__init__(_GivesWay(self._turn, self._waiting))
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @classmethod
    def running(cls) -> OwnLoop:
        """The loop that this runs on."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, cls)
        return loop

    def _run(self) -> None:
        asyncio.set_event_loop(self)
        with self._turn:
            self.run_forever()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, and wait for it. Up to its first wait it runs in this thread, and as
        long as it waits only for what goes on `outside`."""
        resume: Callable[[], Any] = partial(coroutine.send, None)
        waits_for: Any = None
        helper: _Waiting | None = None
        whose: Coroutine[Any, Any, Any] = coroutine
        while True:
            with self._stepping_in():
                if helper is not None:
                    self._go_on(helper.coroutine, resume, helper.kept)
                    resume = partial(coroutine.send, None)
                if helper is None or waits_for.done():
                    try:
                        waits_for = _heard(resume())
                    except StopIteration as ended:
                        result: T = ended.value
                        return result
                helper = None
                if isinstance(waits_for, _Outside):
                    outside, whose = waits_for, coroutine
                elif len(self._begun) == 1 and asyncio.isfuture(waits_for) and not waits_for.done():
                    helper = self._begun.pop()
                    outside, whose = helper.outside, helper.coroutine
                else:
                    done = _end_of(self.create_task(_Begun(coroutine, waits_for)))
                    break
            resume = outside.run(whose)
        return done.result()

    def begin(self, coroutine: Coroutine[Any, Any, None], kept: set[asyncio.Task[None]]) -> None:
        """Run a coroutine up to its first wait at once, and the rest as a task, which is in `kept` while it
        runs. For whoever is on the loop or has stepped in."""
        self._go_on(coroutine, partial(coroutine.send, None), kept)

    def _go_on(
        self, coroutine: Coroutine[Any, Any, None], resume: Callable[[], Any], kept: set[asyncio.Task[None]]
    ) -> None:
        try:
            waits_for = _heard(resume())
        except StopIteration:
            return
        if isinstance(waits_for, _Outside):
            self._begun.append(_Waiting(coroutine, waits_for, kept))
            return
        task = self.create_task(_Begun(coroutine, waits_for))
        kept.add(task)
        task.add_done_callback(kept.discard)

    def _leave_to_loop(self) -> None:
        """What was begun, and for which nobody goes outside, waits as every coroutine does."""
        while self._begun:
            waiting = self._begun.pop()
            self._go_on(waiting.coroutine, partial(waiting.coroutine.throw, _NobodyGoes()), waiting.kept)

    @contextmanager
    def _stepping_in(self) -> Iterator[None]:
        self._waiting.append(None)
        with self._turn:
            self._waiting.pop()
            self.stepped_in, self._has_work = True, False
            asyncio._set_running_loop(self)
            try:
                yield
            finally:
                self._leave_to_loop()
                asyncio._set_running_loop(None)
                self.stepped_in = False
                if self._has_work:
                    self.call_soon_threadsafe(_wake)

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As every loop has it; who has stepped in wakes the loop when it leaves."""
        self._has_work = self.stepped_in
        return super().call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """As every loop has it; who has stepped in wakes the loop when it leaves."""
        self._has_work = self.stepped_in
        return super().call_at(when, callback, *args, context=context)


def _heard(waits_for: Any) -> Any:
    """What a coroutine waits for, heard as a task hears it; until then nobody else can wait for it."""
    if asyncio.isfuture(waits_for):
        waits_for._asyncio_future_blocking = False
    return waits_for


def _wake() -> None:
    pass


def _end_of(task: asyncio.Task[T]) -> concurrent.futures.Future[T]:
    """What a task ends with, for another thread to wait for."""
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def pass_on(task: asyncio.Task[T]) -> None:
        if task.cancelled():
            done.cancel()
            return
        error = task.exception()
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(task.result())

    task.add_done_callback(pass_on)
    return done


class _Begun(Coroutine[Any, Any, T]):
    """What is left of a coroutine that was begun: says once more what it waits for, and then is it."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = [waits_for]

    def __await__(self) -> Generator[Any, Any, T]:
        raise NotImplementedError("it is made into a task, which sends and throws")

    def send(self, value: Any) -> Any:
        if not self._waits_for:
            return self._coroutine.send(value)
        waits_for = self._waits_for.pop()
        if asyncio.isfuture(waits_for):
            waits_for._asyncio_future_blocking = True  # as `await` tells it to a task
        return waits_for

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()


async def outside(work: Callable[..., T], *arguments: Any) -> T:
    """As `asyncio.to_thread`; who has stepped in does it in its own thread, without the turn."""
    if OwnLoop.running().stepped_in:
        try:
            result: T = await _Outside(partial(work, *arguments))
            return result
        except _NobodyGoes:
            pass
    return await asyncio.to_thread(work, *arguments)


async def answer_of(ref: ray.ObjectRef[Any], timeout_s: float | None = None) -> Any:
    """What a reference leads to. A thread that waits for it has it sooner than an event loop."""
    if OwnLoop.running().stepped_in:
        with contextlib.suppress(_NobodyGoes, GetTimeoutError):
            return await _Outside(partial(ray.get, ref, timeout=PATIENCE_S))
    return await (ref if timeout_s is None else within(ref, timeout_s))


async def within(awaitable: Awaitable[T], timeout_s: float) -> T:
    """As `asyncio.wait_for`, also before the first wait of a coroutine, where there is no task yet."""
    future = asyncio.ensure_future(awaitable)
    try:
        done, _ = await asyncio.wait((future,), timeout=timeout_s)
        if not done:
            raise TimeoutError
        return future.result()
    finally:
        if not future.done():
            future.cancel()
