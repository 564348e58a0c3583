"""`Transfers`: which keys want another copy, or have one too many, and what is left over somewhere.

Copies run in batches from one member to another (see `Transfer`). What one event begins is bounded, and so
is the number of copies that a member takes part in at a time (see `Traffic`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from .model import Kind, MemberId, Outcome, Version
from .refusals import Refusals
from .traffic import Traffic
from .transfer import Removal, Transfer

if TYPE_CHECKING:
    from .catalog import Entry
    from .coordinator import CoordinatorCore


class Transfers:
    """Keeps every value at as many copies as it asks for."""

    def __init__(self, core: CoordinatorCore) -> None:
        self._core = core
        self._queue: OrderedDict[str, None] = OrderedDict()
        self.copying: dict[str, Transfer] = {}
        """Keys that are being copied."""
        self._leftovers: dict[MemberId, list[tuple[str, Version]]] = {}
        self._held_back: dict[str, list[tuple[MemberId, Version]]] = {}
        """Leftovers of busy keys: whoever is changing the key may be about to clear them as well."""
        self.starving: dict[str, None] = {}
        """Keys that want another copy, for which there is no place now."""
        self.refusals = Refusals(core.clock)
        self.traffic = Traffic(core.config.transfers_in_flight, core.config.transfer_keys)

    def still_current(self, key: str, version: Version) -> bool:
        """Whether the catalog still has the key in this version, and nobody is changing it."""
        entry = self._core.catalog.entries.get(key)
        return (
            entry is not None
            and entry.kind is Kind.VALUE
            and entry.version == version
            and key not in self._core.requests.busy
        )

    def can_spare(self, key: str, member: MemberId) -> bool:
        """Whether the key is as safe without its copy on this member as it has to be, or as with it."""
        core = self._core
        entry = core.catalog.entries[key]
        if member not in entry.holders or key in core.doubts.undecided or self._is_evidence(key, member):
            return False
        rest = [other for other in entry.holders if other != member]
        if not rest:
            return False
        placement = core.placement
        durable = placement.durable(rest) or not (entry.durable and placement.durable(entry.holders))
        nodes = len(placement.nodes(rest))
        return durable and (nodes >= entry.replicas or nodes >= len(placement.nodes(entry.holders)))

    def _is_evidence(self, key: str, member: MemberId) -> bool:
        """Whether this copy, on stable storage, is needed against an older one on a disk that is away."""
        core = self._core
        if (
            not core.doubts.dark
            or not core.placement.durable((member,))
            or not core.doubts.may_be_away((key,))
        ):
            return False
        entry = core.catalog.entries[key]
        others = {m for m in (*entry.holders, *entry.marks) if m != member and core.placement.durable((m,))}
        return core.doubts.missing_witnesses(others) != []

    def copy_is_bad(self, key: str, version: Version, member: MemberId, outcome: Outcome) -> None:
        """This copy cannot be read. It is removed where there is another; where not, it is kept."""
        core = self._core
        if not self.still_current(key, version) or (member in core.doubts.uncertain.get(key, ())):
            return
        entry = core.catalog.entries[key]
        if member in entry.holders and (len(entry.holders) > 1 or outcome is Outcome.MISSING):
            core.catalog.remove_holder(key, member)
            self.remove(member, [(key, version)])
            core.doubts.check_lost((key,))
            self.check((key,))

    def remove(self, member: MemberId, items: Sequence[tuple[str, Version]]) -> None:
        """Drop these versions at a member, at the end of this event or as soon as nobody changes the key."""
        core = self._core
        for key, version in items:
            core.doubts.add_uncertain(key, member)
            if key in core.requests.busy:
                self._held_back.setdefault(key, []).append((member, version))
            else:
                self._leftovers.setdefault(member, []).append((key, version))

    def released(self, keys: Iterable[str]) -> None:
        """Nobody is changing these keys any more."""
        if self._held_back:
            for key in keys:
                for member, version in self._held_back.pop(key, ()):
                    self._leftovers.setdefault(member, []).append((key, version))

    def check(self, keys: Iterable[str]) -> None:
        """Look soon whether these keys have the copies that they want."""
        self._queue.update(dict.fromkeys(keys))

    def check_starving(self, most: int | None = None) -> None:
        """There may be room now for what found none (look at so many of them, the longest waiting first)."""
        if most is None:
            self.check(self.traffic.new_target())
        keys = list(islice(self.starving, most))
        for key in keys:
            del self.starving[key]
        self.check(keys)

    def check_refused(self) -> None:
        """Copies that were refused have waited long enough, some of them."""
        if self.refusals:
            self.check(self.refusals.due())

    @property
    def idle(self) -> bool:
        """Whether nothing is being copied and nothing waits for it."""
        leftovers = self._leftovers or self._held_back
        return not (self._queue or self.copying or leftovers or self.refusals or self.traffic)

    def send_removals(self) -> None:
        """Send what `remove` has gathered, as one command for each member."""
        if self._leftovers:
            leftovers, self._leftovers = self._leftovers, {}
            for member, items in leftovers.items():
                Removal(self._core, member, items).advance()

    def pump(self) -> None:
        """Start repairs. What one event begins is bounded; the rest is for the next ones."""
        if not self._queue:
            return
        config = self._core.config
        open_by_source: dict[MemberId, Transfer] = {}
        for _ in range(min(len(self._queue), config.transfer_keys * config.transfers_in_flight)):
            self._repair(self._queue.popitem(last=False)[0], open_by_source)
        for transfer in open_by_source.values():
            transfer.start()

    def _repair(self, key: str, open_by_source: dict[MemberId, Transfer]) -> None:
        """Let the key have the copy that it wants, where it wants one and can have it."""
        core, config = self._core, self._core.config
        entry = core.catalog.entries.get(key)
        if entry is None or entry.kind is not Kind.VALUE:
            self.refusals.forget(key)
            return
        if key in self.copying or self.refusals.is_resting(key):
            return  # a copy checks its keys again at its end
        if key in core.requests.busy:
            core.requests.recheck.add(key)
            return
        if core.doubts.dark and core.doubts.is_doubtful(key, entry):
            self.starving[key] = None
            return
        placement = core.placement
        ready = placement.ready
        holders = [member for member in entry.holders if member in ready]
        if not holders:
            return
        staying = holders
        if placement.draining:
            staying = [member for member in holders if ready[member].node not in placement.draining]
        if placement.enough(entry, staying):
            self._have_enough(key, entry, staying, holders)
            return
        tier = ready[(staying or holders)[0]].tier
        source = self.refusals.source(key, holders)
        open_ = open_by_source.get(source)
        if open_ is not None:
            full = len(open_.keys) >= config.transfer_keys or (
                open_.nbytes + entry.nbytes > config.transfer_bytes
            )
            if not full and self._fits(key, entry, staying, tier, open_.target):
                open_.add(key, entry)
                return
            del open_by_source[source]
            open_.start()
        if self.traffic.is_busy_source(source):
            self.traffic.wait_for_source(key, source)
            return
        options = entry.options(tier)
        avoid = {*holders, *core.doubts.uncertain.get(key, ())}
        busy = self.traffic.busy_targets
        refused = self.refusals.bad_targets(key)
        for bad in (avoid | refused, avoid):
            targets = placement.choose(options, entry.nbytes, staying, bad | busy)
            if targets:
                transfer = open_by_source[source] = Transfer(core, source, targets[0], "repaired", move=False)
                transfer.add(key, entry)
                return
            if busy and placement.choose(options, entry.nbytes, staying, bad):
                self.traffic.wait_for_target(key)
                return
            refused.clear()  # whoever is left has refused: they may have recovered
        self.starving[key] = None
        self._have_enough(key, entry, staying, holders)

    def _fits(self, key: str, entry: Entry, staying: Sequence[MemberId], tier: str, target: MemberId) -> bool:
        """Whether the key wants a copy in the tier on another node, and this target is as good as any."""
        core = self._core
        placement = core.placement
        nodes = placement.nodes(staying)
        info = placement.ready[target]
        return (
            len(nodes) < entry.replicas
            and info.node not in nodes
            and info.tier == tier
            and placement.free_bytes(target) >= entry.nbytes
            and target not in entry.holders
            and target not in core.doubts.uncertain.get(key, ())
            and target not in self.refusals.bad_targets(key)
        )

    def _have_enough(self, key: str, entry: Entry, staying: list[MemberId], holders: list[MemberId]) -> None:
        """No further copy is wanted, or to be had: see whether there are too many."""
        self.refusals.forget(key)
        if key in self._core.doubts.undecided:
            self._core.doubts.decide(key)
        if len(holders) > len(staying) or len(staying) > entry.replicas:
            self._trim(key, staying, holders)

    def _trim(self, key: str, staying: list[MemberId], holders: list[MemberId]) -> None:
        """Remove copies beyond those that are wanted, and those on draining nodes."""
        core = self._core
        entry = core.catalog.entries[key]
        wanted = entry.replicas + (1 if entry.durable else 0)
        for member in reversed(holders):
            rest = [other for other in staying if other != member]
            surplus = member not in staying or len(staying) > wanted
            if surplus and core.placement.enough(entry, rest) and not self._is_evidence(key, member):
                core.catalog.remove_holder(key, member)
                self.remove(member, [(key, entry.version)])
                staying = rest
