"""Time, messages and processes of the simulated cluster. One random generator decides everything."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any


class Process:
    """Something that receives messages, can be stalled (they queue up) and can die (they are gone).

    With a fuse of k it dies instead of performing its k-th next command: at any await, in the middle of
    what it was doing.
    """

    def __init__(self, name: str, node: str) -> None:
        self.name = name
        self.node = node
        self.alive = True
        self.stalled = False
        self.fuse: int | None = None
        self._queued: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()

    def deliver(self, receive: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if not self.alive:
            return
        if self.stalled:
            self._queued.append((receive, arguments))
        else:
            receive(*arguments)

    def wake(self) -> None:
        self.stalled = False
        while self._queued and self.alive and not self.stalled:
            receive, arguments = self._queued.popleft()
            receive(*arguments)

    def survives(self) -> bool:
        """To be asked before each command; burns the fuse."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                self.fuse = None
                self.die()
        return self.alive

    def die(self) -> None:
        self.alive = False


class Network:
    """Delivers messages after a random time, loses some, repeats some, and keeps to the partitions."""

    def __init__(self, seed: int, trace: bool = False) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.cut_off: set[str] = set()
        """Nodes that only reach themselves."""
        self.loss = 0.01
        self.repeats = 0.03
        self.quick = 0.97
        """The share of messages that take no more than two milliseconds; others take up to half a second."""
        self.lines: list[str] | None = [] if trace else None
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0

    def log(self, line: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{self.now:9.4f} {line}")

    def after(self, delay_s: float, act: Callable[..., None], *arguments: Any) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + delay_s, self._number, act, arguments))

    def connected(self, left: str, right: str) -> bool:
        return left == right or not (left in self.cut_off or right in self.cut_off)

    def send(self, node: str, to: Process, receive: Callable[..., None], *arguments: Any) -> None:
        """One message. Nobody learns whether it arrives."""
        draw = self.random.random
        if not self.connected(node, to.node) or (node != to.node and draw() < self.loss):
            if self.lines is not None:
                self.log(f"  lost on the way to {to.name}: {_short(arguments)}")
            return
        self.after(self._delay_s(), self._arrive, node, to, receive, arguments)
        if draw() < self.repeats:
            self.after(self._delay_s() * 2, self._arrive, node, to, receive, arguments)

    def _delay_s(self) -> float:
        draw = self.random.random()
        return 0.0002 + 0.002 * draw if draw < self.quick else draw * 0.5

    def _arrive(
        self, node: str, to: Process, receive: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        if self.connected(node, to.node):
            if self.lines is not None and to.alive:
                self.log(f"  {to.name} <- {_short(arguments)}{' (stalled)' if to.stalled else ''}")
            to.deliver(receive, arguments)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        events = self._events
        while events and events[0][0] <= end:
            self.now, _, act, arguments = heapq.heappop(events)
            act(*arguments)
        self.now = end


def _short(arguments: tuple[Any, ...]) -> str:
    text = " ".join(repr(argument) for argument in arguments)
    return text if len(text) <= 400 else text[:400] + "..."
