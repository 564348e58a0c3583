"""`Roster`: members come, report what they keep, are drained and lost; what that does to everything else.

`Membership` decides who is a member. Here a member that has entered the view is asked for its inventory,
and what it keeps enters the catalog; of one that has left, the catalog forgets the copies, whoever waits
for its answers is told, and its disk, if it has one, becomes a doubt. When all members of a new coordinator
have been heard, or have left, the catalog is rebuilt and clients are served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import commands as out
from . import events as ev
from .membership import Phase
from .model import MemberId, MemberInfo, Version
from .outbox import Answer

if TYPE_CHECKING:
    from .coordinator import CoordinatorCore


class Roster:
    """Who has been heard, who has not, and who came before this coordinator was one."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self._unheard: dict[MemberId, int] = {}
        """Members that have not reported yet, with the incarnation that was asked."""
        self._strangers: list[MemberInfo] = []
        """Members that announced themselves before this coordinator was one."""

    def start(self, event: ev.Start) -> None:
        """Claim the cluster, with those members of the newest view that have answered."""
        known = set() if event.view is None else {(m.member, m.incarnation) for m in event.view.members}
        gone = set() if event.view is None else set(event.view.gone)
        members = []
        for info in event.members:
            if info.member not in gone and (info.clean or (info.member, info.incarnation) in known):
                members.append(info)
            else:
                self._strangers.append(info)
        self._core.membership.claim(event.view, tuple(members))

    def view_changed(self, event: ev.ViewPersisted | ev.ViewRefused) -> None:
        """A view that was proposed stands, or another does."""
        core, membership = self._core, self._core.membership
        claiming = core.phase is Phase.CLAIMING
        if isinstance(event, ev.ViewPersisted):
            change = membership.persisted(event.number, event.asked_s)
        else:
            change = membership.refused(event.view, event.asked_s)
        if change is None:
            return
        if claiming:
            core.outbox.start_epoch(membership.epoch)
            core.doubts.dark = dict.fromkeys(membership.away)
        for info in change.left:
            self._left(info)
        for member in change.forgotten:
            core.doubts.say_lost(core.doubts.dark.pop(member, None) or ())
        for info in change.entered:
            self._entered(info)
        if change.forgotten:
            core.tombstones.review()
        strangers, self._strangers = self._strangers, []
        for info in strangers:
            self.announced(info)
        self._rebuilt_if_all_heard()
        membership.propose_changes()

    def announced(self, info: MemberInfo) -> None:
        """A member says who it is: let it join, or have it begin a new life or set its disk aside."""
        core, membership = self._core, self._core.membership
        if core.phase in (Phase.IDLE, Phase.CLAIMING):
            self._strangers.append(info)  # whoever is not coordinator turns nobody away
            return
        if info.member in membership.gone:
            core.emit(out.Quarantine(info.member, info.incarnation))
            return
        present = membership.live.get(info.member)
        if not info.clean and (present is None or present.incarnation != info.incarnation):
            core.emit(out.ResetMember(info.member, info.incarnation, membership.epoch))
            return
        membership.join(info)
        membership.propose_changes()

    def _entered(self, info: MemberInfo) -> None:
        core, member = self._core, info.member
        core.outbox.add_member(info)
        self._unheard[member] = info.incarnation
        if info.durable and core.phase is Phase.SERVING:
            core.doubts.dark.setdefault(member, None if info.highest_epoch else {})
        core.outbox.send(out.TakeInventory(core.outbox.fence(member)), self)

    def answered(self, command: out.MemberCommand, answer: Answer | None) -> None:
        """A member has reported what it keeps; None: it was lost before."""
        if not isinstance(answer, ev.InventoryReported):
            return
        core, member = self._core, answer.member
        info = core.membership.live[member]
        self._unheard.pop(member, None)
        core.membership.heard(member)
        core.doubts.dark.pop(member, None)
        if core.phase is Phase.SERVING:
            core.catalog.add_member(member)
            core.placement.admit(info)
            core.rebuild.merge_later(member, answer.incarnation, answer.inventory)
            if info.node in core.placement.draining:
                self._empty(info.node)
            self._new_room()
        else:
            core.rebuild.merge_at_start(member, answer.incarnation, answer.inventory)
            core.placement.admit(info)
            self._rebuilt_if_all_heard()
        core.emit(out.Announce("joined", member))

    def _rebuilt_if_all_heard(self) -> None:
        core = self._core
        if core.phase is not Phase.REBUILDING or self._unheard:
            return
        core.membership.phase = Phase.SERVING
        core.rebuild.finish_start()
        for node in core.placement.draining:
            self._empty(node)
        core.emit(out.Announce("serving"))
        core.requests.serve_parked()

    def _left(self, info: MemberInfo) -> None:
        core, member = self._core, info.member
        doubts = core.doubts
        self._unheard.pop(member, None)
        heard = core.placement.dismiss(member)
        waiting = core.outbox.remove_member(member)
        emptied = info.durable and heard and not waiting and self._is_emptied(info)
        held = core.catalog.remove_member(member)
        if info.durable:
            if heard or doubts.dark.get(member) is not None:
                held.update(doubts.dark.get(member) or {})
                for late in waiting:
                    for key in getattr(late.command, "keys", ()):
                        held.setdefault(key, Version())
                for key in doubts.uncertain:
                    if member in doubts.uncertain[key]:
                        held.setdefault(key, Version())
                doubts.dark[member] = held
            else:
                doubts.dark[member] = None
        if emptied:
            core.membership.give_up(member)  # its node was taken away on purpose: nobody waits for the disk
        if member in core.membership.gone:
            doubts.dark.pop(member, None)
        doubts.forget_copies(member)
        for late in waiting:
            late.owner.answered(late.command, None)
        if core.phase is Phase.SERVING:
            doubts.check_lost(held)
            core.transfers.check(held)
        core.emit(out.Announce("left", member))

    def _is_emptied(self, info: MemberInfo) -> bool:
        """Whether a disk that leaves was drained, and no other needs what is written down on it."""
        core = self._core
        return (
            info.tier != "glacier"  # that is no node's own
            and info.node in core.placement.draining
            and not core.catalog.used_bytes[info.member]
            and not core.doubts.dark
            and not any(info.member in members for members in core.doubts.uncertain.values())
        )

    def drain(self, event: ev.DrainNode) -> None:
        """Move everything off a node, or let it take new data again."""
        if event.undo:
            self._core.placement.undrain(event.node)
            self._new_room()
        else:
            self._core.placement.drain(event.node)
            self._empty(event.node)

    def _empty(self, node: str) -> None:
        """Look soon at everything that lies on a node that is being drained."""
        core = self._core
        for member, info in core.placement.ready.items():
            if info.node == node:
                core.transfers.check(core.catalog.keys_at[member])

    def _new_room(self) -> None:
        self._core.transfers.check_starving()
        self._core.tombstones.review()

    def verify(self) -> None:
        """All disks are heard, and what was outdated on some has been removed: they are as good as any."""
        core, membership = self._core, self._core.membership
        unverified = membership.unverified - membership.verified
        if not unverified or core.doubts.dark or not unverified.issubset(core.placement.ready):
            return
        for members in core.doubts.uncertain.values():
            unverified.difference_update(members)
        if unverified:
            membership.verified |= unverified
            membership.propose_changes()
