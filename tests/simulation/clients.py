"""The shell of the client's core in the simulated cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memories.actors.core.client import ClientAction, ClientCore, Complete, ReadFrom, Send
from memories.actors.core.commands import Reply
from memories.actors.core.events import LocateMany
from memories.actors.core.model import Outcome, Version

from .network import Process
from .processes import Place

if TYPE_CHECKING:
    from .world import World


class ClientProcess(Process):
    """A driver with a few calls under way."""

    def __init__(self, world: World, name: str, node: str) -> None:
        super().__init__(name, node)
        self.world = world
        network = world.network
        self.core = ClientCore(name, node, lambda: network.now, resend_after_s=1.0)
        self.waiting: dict[int, Callable[[Complete, dict[str, int]], None]] = {}
        self.values: dict[int, dict[str, int]] = {}
        self.places: dict[str, Place] = {}
        self.guesses: dict[str, tuple[Place, Version, int]] = {}
        self.right_guesses = 0
        self._ticket = 0
        network.after(0.1, self.tick)

    def start(
        self,
        begin: Callable[[int], list[ClientAction]],
        done: Callable[[Complete, dict[str, int]], None],
    ) -> None:
        self._ticket += 1
        self.waiting[self._ticket] = done
        self.values[self._ticket] = {}
        self.act(begin(self._ticket))

    def tick(self) -> None:
        if self.waiting:
            self.act(self.core.tick())
        self.world.network.after(0.1, self.tick)

    def replied(self, reply: Reply) -> None:
        self.act(self.core.replied(reply))

    def have_read(self, request: ReadFrom, outcomes: tuple[Outcome, ...], values: dict[str, int]) -> None:
        if request.ticket in self.values:
            self.values[request.ticket].update(values)
        self.act(self.core.read_done(request, outcomes))

    def have_guessed(self, key: str, answer: tuple[Place, Version, int]) -> None:
        self.guesses[key] = answer

    def _guess(self, event: LocateMany) -> None:
        """As the client on Ray does: ask where the key was the last time, before it is known where it is."""
        (key,) = event.keys
        self.guesses.pop(key, None)
        place = self.places.get(key)
        life = None if place is None else self.world.life(*place)
        if place is not None and life is not None:
            self.world.network.send(self.node, life, life.guess, self, key, place)

    def _was_guessed(self, action: ReadFrom) -> bool:
        """Whether the guess is the very version that the coordinator names."""
        visit = action.visit
        place = (visit.member, visit.incarnation)
        self.places.update(dict.fromkeys(visit.keys, place))
        guess = self.guesses.pop(visit.keys[0], None)
        if len(visit.keys) > 1 or guess is None or guess[:2] != (place, visit.versions[0]):
            return False
        self.right_guesses += 1
        self.have_read(action, (Outcome.OK,), {visit.keys[0]: guess[2]})
        return True

    def act(self, actions: list[ClientAction]) -> None:
        network = self.world.network
        for action in actions:
            match action:
                case Send(event):
                    if isinstance(event, LocateMany) and len(event.keys) == 1:
                        self._guess(event)
                    # By name: whoever is the coordinator now, or sometimes still an old one.
                    coordinator = self.world.coordinator_for_a_client()
                    if coordinator is not None:
                        network.send(self.node, coordinator, coordinator.on, event)
                case ReadFrom() if self._was_guessed(action):
                    pass
                case ReadFrom():
                    life = self.world.life(action.visit.member, action.visit.incarnation)
                    if life is not None:
                        network.send(self.node, life, life.read, self, action)
                    silent = (Outcome.UNAVAILABLE,) * len(action.visit.keys)
                    network.after(1.0, self._read_timed_out, action, silent)
                case Complete():
                    done = self.waiting.pop(action.ticket)
                    done(action, self.values.pop(action.ticket))

    def _read_timed_out(self, action: ReadFrom, silent: tuple[Outcome, ...]) -> None:
        if action.ticket in self.waiting:
            self.act(self.core.read_done(action, silent))
