"""Helper threads that stay for a while: to wake one takes half as long as to start one."""

from __future__ import annotations

import _thread
import os
from collections.abc import Callable

LINGER_S = 0.25  # learners sample more often; and who has stopped soon has no thread left
MOST_HELPERS = 3

Work = Callable[[], object]


class _Helper:
    """One thread. It does what it is given, waits a while for more, and ends."""

    __slots__ = ("_called", "_work")

    def __init__(self) -> None:
        self._work: Work | None = None
        self._called = _thread.allocate_lock()
        self._called.acquire()
        _thread.start_new_thread(self._run, ())

    def call(self, work: Work) -> None:
        self._work = work
        self._called.release()

    def _run(self) -> None:
        while True:
            if not self._called.acquire(timeout=LINGER_S):
                try:
                    _idle.remove(self)
                except ValueError:  # somebody has just taken it from there, and is about to call
                    self._called.acquire()
                else:
                    _all.discard(self)
                    return
            try:
                self._do_work()
            except BaseException:
                _all.discard(self)
                raise
            _idle.append(self)

    def _do_work(self) -> None:
        work, self._work = self._work, None  # it holds on to arrays
        if work is not None:
            work()


_idle: list[_Helper] = []
_all: set[_Helper] = set()
_creating = _thread.allocate_lock()


def call_helpers(count: int, work: Work) -> None:
    """Have up to `count` threads run `work`, which raises nothing; returns at once.

    On busy cores they may start late, and there may be fewer or none: the caller must not depend on
    them. No more than `MOST_HELPERS` exist in a process, whoever calls.
    """
    for _ in range(count):
        try:
            helper = _idle.pop()
        except IndexError:
            newcomer = _new_helper()
            if newcomer is None:
                return
            helper = newcomer
        helper.call(work)


def _new_helper() -> _Helper | None:
    with _creating:
        if len(_all) >= MOST_HELPERS:
            return None
        try:
            helper = _Helper()
        except RuntimeError:  # no more threads to be had
            return None
        _all.add(helper)
        return helper


def _forget() -> None:
    """In a forked child the threads are not there, and somebody may have held the lock."""
    global _creating
    _creating = _thread.allocate_lock()
    _idle.clear()
    _all.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
