"""`CoordinatorCore`: decides where everything is. Events in, commands out; see `actors.core`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from . import commands as out
from . import events as ev
from .catalog import Catalog
from .catch_up import CatchUp
from .doubts import Doubts
from .expiries import Expiries
from .membership import Membership, Phase
from .model import CoreConfig, Outcome, Refusal, Version
from .outbox import Answer, Outbox
from .placement import Placement
from .queries import Queries
from .rebuild import Rebuild
from .requests import Requests
from .roster import Roster
from .stores import Stores
from .tombstones import Tombstones
from .transfers import Transfers

_STARVING_A_TICK = 256


class Stalled(Protocol):
    """Something that goes on at the next tick."""

    def advance(self) -> None: ...


class CoordinatorCore:
    """The state machine of the coordinator: it holds the parts together and gives each event to one of them.

    `owner` names this process uniquely. `clock` is monotonic (and goes on while the process is stopped);
    `wall_clock` is the time since the Unix epoch, by which values expire. Not thread-safe.
    """

    def __init__(
        self,
        owner: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        config: CoreConfig | None = None,
    ) -> None:
        self.config = config or CoreConfig()
        self.clock = clock
        self.wall_clock = wall_clock
        self._commands: list[out.Command] = []
        self.catalog = Catalog()
        self.outbox = Outbox(self.emit, clock)
        self.membership = Membership(owner, self.config, clock, self.emit)
        self.placement = Placement(self.config, self.catalog, self.membership.losing)
        self.roster = Roster(self)
        self.doubts = Doubts(self)
        self.transfers = Transfers(self)
        self.tombstones = Tombstones(self)
        self.rebuild = Rebuild(self)
        self.expiries = Expiries(self, owner)
        self.catch_up = CatchUp(self, owner)
        self.requests = Requests(self)
        self.stores = Stores()
        self.queries = Queries(self)
        self.stalled: list[Stalled] = []
        self._held: list[ev.Event] = []
        """What has come while this process could not tell whether it may act."""
        self._sequence = 0

    @property
    def phase(self) -> Phase:
        """How far this coordinator is."""
        return self.membership.phase

    @property
    def at_rest(self) -> bool:
        """Whether no request, repair or removal is under way."""
        return self.transfers.idle and not (
            self.requests.busy or self.doubts or self.stalled or self.catch_up.behind
        )

    @property
    def is_quiet(self) -> bool:
        """Whether this coordinator serves, and no client is changing anything at this moment."""
        return self.phase is Phase.SERVING and self.requests.none_open and not self._held

    def handle(self, event: ev.Event) -> list[out.Command]:
        """Take one event and return what is to be done now, in this order."""
        match event:
            case ev.Start():
                if self.phase is Phase.IDLE:
                    self.roster.start(event)
            case ev.ViewPersisted() | ev.ViewRefused():
                self.roster.view_changed(event)
            case ev.ViewChecked():
                self.membership.checked(event.asked_s, event.newer)
            case _:
                self._held.append(event)
        if self.phase in (Phase.CLAIMING, Phase.IDLE) or (self._held and self.membership.may_act()):
            held, self._held = self._held, []
            for waiting in held:
                if self.phase is not Phase.STOPPED:
                    self._dispatch(waiting)
        if self.phase is Phase.SERVING:
            self.transfers.pump()
        self.transfers.send_removals()
        commands, self._commands = self._commands, []
        if self.phase is Phase.STOPPED:
            return [command for command in commands if isinstance(command, out.Stop)]
        return commands

    def emit(self, command: out.Command) -> None:
        """Add a command to those that `handle` returns."""
        self._commands.append(command)

    def next_version(self) -> Version:
        """A version that is newer than every other."""
        self._sequence += 1
        return Version(self.membership.epoch, self._sequence)

    def _dispatch(self, event: ev.Event) -> None:
        match event:
            case ev.Done() | ev.InventoryReported():
                self._receive(event)
            case ev.Tick():
                self._tick()
            case ev.MemberJoined():
                self.roster.announced(event.info)
            case ev.MemberLost():
                self.membership.lose(event.member, event.incarnation)
                self.membership.propose_changes()
            case ev.DeclareGone():
                self.membership.give_up(event.member)
                self.membership.propose_changes()
            case ev.DrainNode():
                self.roster.drain(event)
            case ev.CopyCorrupt():
                self._corrupt(event)
            case (
                ev.StoreMany()
                | ev.DeleteMany()
                | ev.LocateMany()
                | ev.ListKeys()
                | ev.MoveMany()
                | ev.UpdateKeys()
            ):
                if self.phase is Phase.SERVING:
                    self.requests.serve(event)
                else:
                    self.requests.park(event)
            case _:
                raise AssertionError(f"not an event: {event!r}")

    def _receive(self, answer: Answer) -> None:
        if isinstance(answer, ev.Done) and answer.refusal is not None:
            if answer.refusal is Refusal.EPOCH:
                self.membership.lease_until_s = float("-inf")
                self.membership.may_act()
            return  # the command goes on waiting: until it is sent again, or the member is lost
        self.outbox.receive(answer)

    def _corrupt(self, event: ev.CopyCorrupt) -> None:
        info = self.placement.ready.get(event.member)
        if info is not None and info.incarnation == event.incarnation:
            self.transfers.copy_is_bad(event.key, event.version, event.member, Outcome.CORRUPT)

    def _tick(self) -> None:
        self.membership.tick()
        if self.phase is Phase.STOPPED:
            return
        self.outbox.resend(self.config.resend_after_s)
        stalled, self.stalled = self.stalled, []
        for waiting in stalled:
            waiting.advance()
        self.requests.forget_failures(self.clock() - self.config.tombstone_retention_s)
        if self.phase is Phase.SERVING:
            self.roster.verify()
            self.tombstones.purge()
            for update in self.catch_up.due():
                self.requests.serve(update)
            expired = self.expiries.due()
            if expired is not None:
                self.requests.serve(expired)
            self.transfers.check_starving(_STARVING_A_TICK)
            self.transfers.check_refused()
