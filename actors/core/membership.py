"""`Membership`: the epoch, the view log, and the right to act.

One log in the KV decides two things at once: who is coordinator (whoever wrote the newest entry) and who
the members are. An entry can be created once, so two coordinators never disagree, and a change of
membership takes effect only when its entry stands.

The right to act is a lease by this process's own clock: for `lease_s` after the log was found unchanged.
A process that was stalled finds its lease expired when it wakes, and looks before it does anything. A new
coordinator goes on without a member that does not answer only after that lease must have run out, so
the old one can no longer have got an acknowledgement from that member.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from .commands import CheckView, Command, PersistView, Stop
from .model import CoreConfig, MemberId, MemberInfo, View


class Phase(Enum):
    """How far a coordinator is in its life."""

    IDLE = auto()
    CLAIMING = auto()
    REBUILDING = auto()
    SERVING = auto()
    STOPPED = auto()


@dataclass(slots=True)
class Change:
    """How the newest view differs from the one before."""

    left: list[MemberInfo] = field(default_factory=list)
    entered: list[MemberInfo] = field(default_factory=list)
    forgotten: list[MemberId] = field(default_factory=list)
    """Members that were away and have been declared gone."""


class Membership:
    """The view that stands, the one that is proposed, and what is to be proposed next."""

    def __init__(
        self, owner: str, config: CoreConfig, clock: Callable[[], float], emit: Callable[[Command], None]
    ) -> None:
        self.owner = owner
        self.phase = Phase.IDLE
        self.view = View(0, 0, owner)
        self.live: dict[MemberId, MemberInfo] = {}
        self.away: set[MemberId] = set()
        self.gone: set[MemberId] = set()
        self.unverified: set[MemberId] = set()
        self.verified: set[MemberId] = set()
        """Members that need not be called unverified any more, from the next view on."""
        self.losing: dict[MemberId, int] = {}
        """Lives that are to leave the view: nothing new is trusted to them."""
        self.fenced: set[MemberId] = set()
        """Members that have confirmed our epoch: what an old coordinator sends them, they refuse."""
        self.lease_until_s = float("-inf")
        self.may_depose_s = float("inf")
        self._config = config
        self._clock = clock
        self._emit = emit
        self._proposed: View | None = None
        self._proposed_s = 0.0
        self._checked_s = float("-inf")
        self._joining: dict[MemberId, MemberInfo] = {}
        self._giving_up: set[MemberId] = set()

    @property
    def epoch(self) -> int:
        return self.view.epoch

    def claim(self, view: View | None, members: tuple[MemberInfo, ...] = ()) -> None:
        """Propose to become coordinator, after the newest view of the log."""
        self.phase = Phase.CLAIMING
        self.view = view or View(0, 0, "")
        self.live = {info.member: info for info in self.view.members}
        self.away, self.gone = set(self.view.away), set(self.view.gone)
        self.unverified = set(self.view.unverified)
        for info in members:
            self.join(info)
        highest = max([self.view.epoch, *(info.highest_epoch for info in self._joining.values())])
        self._propose(View(self.view.number + 1, highest + 1, self.owner, *self._next()))

    def join(self, info: MemberInfo) -> None:
        """A member has announced itself. The caller has turned away those that are `gone`."""
        present = self.live.get(info.member)
        if present is not None and present.incarnation == info.incarnation:
            return
        self._joining[info.member] = info
        if present is not None:
            self.losing[info.member] = present.incarnation

    def lose(self, member: MemberId, incarnation: int) -> None:
        """This life of a member is over, or out of reach."""
        present = self.live.get(member)
        if present is not None and present.incarnation == incarnation:
            self.losing[member] = incarnation
        joining = self._joining.get(member)
        if joining is not None and joining.incarnation == incarnation:
            del self._joining[member]

    def give_up(self, member: MemberId) -> None:
        """Do not wait for this member any more, now or when it returns."""
        self._giving_up.add(member)
        self._joining.pop(member, None)
        present = self.live.get(member)
        if present is not None:
            self.losing[member] = present.incarnation

    def heard(self, member: MemberId) -> None:
        """The member has confirmed our epoch. If it was thought to be lost, it is not."""
        self.fenced.add(member)
        if self._proposed is None and member not in self._giving_up and member not in self._joining:
            self.losing.pop(member, None)

    def propose_changes(self) -> None:
        """Propose the next view, where something has changed and no proposal is under way."""
        if self._proposed is not None or self.phase not in (Phase.REBUILDING, Phase.SERVING):
            return
        view = View(self.view.number + 1, self.epoch, self.owner, *self._next())
        if replace(view, number=self.view.number, owner=self.view.owner) != self.view:
            self._propose(view)

    def persisted(self, number: int, asked_s: float) -> Change | None:
        """The proposal stands. Returns what changed with it; None where it was not the current one."""
        view = self._proposed
        if view is None or number != view.number:
            return None
        self._proposed = None
        self._extend_lease(asked_s)
        before = {} if self.phase is Phase.CLAIMING else self.live
        change = Change(forgotten=sorted(self.away & set(view.gone)))
        after = {info.member: info for info in view.members}
        change.left = [info for member, info in before.items() if after.get(member) != info]
        change.entered = [info for member, info in after.items() if before.get(member) != info]
        self.view, self.live = view, after
        self.away, self.gone = set(view.away), set(view.gone)
        self.unverified = set(view.unverified)
        self.verified -= {info.member for info in change.entered}
        for info in change.left:
            self.fenced.discard(info.member)
        for member, info in after.items():
            if self._joining.get(member) == info:
                del self._joining[member]
        for member, incarnation in list(self.losing.items()):
            present = after.get(member)
            if present is None or present.incarnation != incarnation:
                del self.losing[member]
        self._giving_up -= self.gone
        if self.phase is Phase.CLAIMING:
            self.phase = Phase.REBUILDING
            self.may_depose_s = self._clock() + self._config.lease_s + self._config.lease_margin_s
        return change

    def refused(self, view: View, asked_s: float) -> Change | None:
        """Somebody wrote the entry that we proposed. If that was we (a lost answer), it stands."""
        if self._proposed is None:
            return None
        if view == self._proposed:
            return self.persisted(view.number, asked_s)
        if view.owner == self.owner:
            return None
        self._proposed = None
        if self.phase is Phase.CLAIMING:
            self.claim(view, tuple(self._joining.values()))
        else:
            self.stop(view)
        return None

    def checked(self, asked_s: float, newer: View | None) -> None:
        """The answer to `CheckView`."""
        if newer is not None and newer.owner != self.owner:
            self.stop(newer)
        else:
            self._extend_lease(asked_s)

    def may_act(self) -> bool:
        """Whether the lease holds. If not, the log is being looked at."""
        if self._clock() < self.lease_until_s:
            return True
        self._check()
        return False

    def tick(self) -> None:
        """Renew the lease in time; repeat a proposal that got no answer."""
        now = self._clock()
        if self._proposed is not None and now - self._proposed_s >= self._config.resend_after_s:
            self._proposed_s = now
            self._emit(PersistView(self._proposed))
        if self.phase in (Phase.REBUILDING, Phase.SERVING):
            if now > self.lease_until_s - self._config.lease_s * 2 / 3:
                self._check()
            self.propose_changes()

    def stop(self, newer: View) -> None:
        """Another coordinator is in charge."""
        if self.phase is not Phase.STOPPED:
            self.phase = Phase.STOPPED
            self._emit(
                Stop(
                    f"coordinator {newer.owner!r} has taken over with epoch {newer.epoch}; "
                    f"this one had epoch {self.epoch}"
                )
            )

    def _check(self) -> None:
        now = self._clock()
        if now - self._checked_s >= self._config.lease_s / 6:
            self._checked_s = now
            self._emit(CheckView(self.view.number, now))

    def _extend_lease(self, asked_s: float) -> None:
        self.lease_until_s = max(self.lease_until_s, asked_s + self._config.lease_s)

    def _propose(self, view: View) -> None:
        self._proposed = view
        self._proposed_s = self._clock()
        self._emit(PersistView(view))

    def _next(
        self,
    ) -> tuple[tuple[MemberInfo, ...], tuple[MemberId, ...], tuple[MemberId, ...], tuple[MemberId, ...]]:
        """The members, the away, the gone and the unverified, after the changes that may be made now."""
        members, away, gone = dict(self.live), set(self.away), set(self.gone)
        unverified = self.unverified - self.verified
        claiming = self.phase is Phase.CLAIMING
        for member, incarnation in self.losing.items():
            present = members.get(member)
            if present is None or present.incarnation != incarnation or claiming:
                continue
            if member not in self.fenced and self._clock() < self.may_depose_s:
                continue  # an old coordinator may still be talking to it
            del members[member]
            if present.durable:
                away.add(member)
        for member in self._giving_up:
            if member not in members:
                away.discard(member)
                gone.add(member)
        for member, info in self._joining.items():
            if member not in members and member not in gone:
                members[member] = info
                away.discard(member)
                if info.durable and info.highest_epoch and self.view.epoch:
                    unverified.add(member)
        ordered = tuple(members[member] for member in sorted(members))
        unverified &= members.keys()
        return ordered, tuple(sorted(away)), tuple(sorted(gone)), tuple(sorted(unverified))
