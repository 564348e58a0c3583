"""`ShardCore`: one replica of one shard, primary or backup, as a state machine.

The primary gives every operation a number and sends it to its backup; it does the operation itself, shows
its rows to samplers, and answers, only when the backup has done it. So the rows that a sampler has seen, and
their handles, are those of the backup as well, and a priority that comes after a fail-over finds its row
or nothing. Who is primary and who is backup is said by views, which the directory has recorded before it
tells anybody; a replica acts on the newest it knows and refuses what comes in an older one. A primary
whose backup does not answer waits: only the directory may put it into a view where it acts alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from ....replay.buffer import ReplayBuffer
from . import events as ev
from .model import Replica, ShardView
from .peer import Peer, PeerMode
from .replicated import ReplicatedRows

RESEND_S = 0.3
STATE_RESEND_S = 2.0
MAX_SENDS = 4
MAX_OPERATIONS_A_SEND = 64
MAX_BYTES_A_SEND = 8 << 20


class Role(Enum):
    NONE = "none"
    PRIMARY = "primary"
    BACKUP = "backup"
    CANDIDATE = "candidate"


class ShardCore:
    """One mutator, `handle`. Not thread-safe: the shell's event loop is the one caller.

    ack_early: acknowledge an operation when the primary has it, before the backup has: cheaper, and lost
        where the primary dies at that moment. Rows still appear only when the backup has them.
    keeps_all: rows leave only when they are taken (a queue, a stack): a batch that has no room is held back.
    """

    def __init__(
        self,
        me: Replica,
        shard: int,
        make_buffer: Callable[[], ReplayBuffer],
        clock: Callable[[], float],
        *,
        ack_early: bool = False,
        keeps_all: bool = False,
    ) -> None:
        self.me = me
        self.view = ShardView(shard, 0)
        self.rows = ReplicatedRows(make_buffer)
        self._clock = clock
        self._ack_early = ack_early
        self._keeps_all = keeps_all
        self._peer: Peer | None = None
        self._applied = 0  # the last operation that was done here
        self._last = 0  # the last one that has a number
        self._log: deque[ev.Operation] = deque()  # those that the peer, or this replica, still needs
        self._log_first = 1
        self._waiting: dict[int, list[ev.CallId]] = {}
        self._proposed: dict[tuple[str, int, int], int] = {}
        self._closing = False
        self._early: dict[int, ev.Operation] = {}  # of a backup: came before their turn
        self._installed_in = 0
        self._pieces_of = self._pieces = 0  # of a candidate: pieces of the state, and of which view
        self._out: list[ev.Command] = []
        self.repeated = 0
        """Batches that came again after they were taken."""

    @property
    def role(self) -> Role:
        return _role_in(self.view, self.me)

    @property
    def in_sync(self) -> Replica | None:
        """The candidate of the present view, where it holds everything that was acknowledged."""
        peer = self._peer
        if peer is None or peer.mode is not PeerMode.JOINING or peer.acked < peer.joins_at:
            return None
        return peer.replica

    @property
    def unapplied(self) -> int:
        """Operations that wait for the backup."""
        return self._last - self._applied

    def handle(self, event: ev.Event) -> list[ev.Command]:
        """Take one event in; returns what is to be done."""
        match event:
            case ev.Propose():
                self._propose(event)
            case ev.AcceptOperations():
                self._accept(event)
            case ev.PeerAnswer():
                self._hear_peer(event)
            case ev.Adopt():
                self._adopt(event.view)
            case ev.Install():
                self._install(event)
            case ev.Tick():
                self._resend()
        self._advance()
        out, self._out = self._out, []
        return out

    # -- the primary ----------------------------------------------------------------------------------

    def _propose(self, event: ev.Propose) -> None:
        operation = event.operation
        if self.role is not Role.PRIMARY:
            self._answer(event.call, ev.NotPrimary(self.view if self.view.number else None))
            return
        if isinstance(operation, ev.InsertRows):
            batch = (operation.writer, operation.logical, operation.number)
            if batch in self.rows.marks:
                self.repeated += 1
                self._answer(event.call, ev.Done())
                return
            if self.rows.closed or self._closing:
                self._answer(event.call, ev.NotPrimary(self.view))
                return
            if batch in self._proposed:  # sent again while it waits for the backup
                self._wait_for(self._proposed[batch], event.call)
                return
            if self._keeps_all and not self._has_room(operation.rows):
                self._answer(event.call, ev.Full())
                return
            self._proposed[batch] = self._last + 1
        self._closing = self._closing or isinstance(operation, ev.CloseInserts)
        self._last += 1
        self._log.append(operation)
        self._wait_for(self._last, event.call)

    def _has_room(self, rows: int) -> bool:
        """Beside the rows that wait for the backup."""
        unapplied = (self._operation(number) for number in range(self._applied + 1, self._last + 1))
        coming = sum(operation.rows for operation in unapplied if isinstance(operation, ev.InsertRows))
        return len(self.rows.buffer) + coming + rows <= (self.rows.buffer.capacity or 0)

    def _wait_for(self, number: int, call: ev.CallId) -> None:
        if self._ack_early and isinstance(self._operation(number), ev.InsertRows):
            self._answer(call, ev.Done())
        else:
            self._waiting.setdefault(number, []).append(call)

    def _advance(self) -> None:
        """Send what can be sent, and do and answer what may be done."""
        if self.role is not Role.PRIMARY:
            return
        peer = self._peer
        alone = peer is None or peer.mode is PeerMode.EMPTY
        allowed = self._last if alone or peer is None else peer.acked
        while self._applied < allowed:
            operation = self._operation(self._applied + 1)
            done = self.rows.apply(operation)
            self._applied += 1
            if isinstance(operation, ev.InsertRows):
                self._proposed.pop((operation.writer, operation.logical, operation.number), None)
            for call in self._waiting.pop(self._applied, ()):
                self._answer(call, done)
        if peer is not None:
            if peer.mode is PeerMode.EMPTY:
                self._send_state(peer)
            else:
                self._send_operations(peer)
        self._trim()

    def _send_state(self, peer: Peer) -> None:
        """One piece at a time: memory and pauses stay bounded, and the log is kept from this moment on."""
        if peer.sends:
            return
        if peer.export is None:
            peer.export = self.rows.export_pieces()
            peer.sent = peer.acked = self._applied
            peer.piece = peer.export.next_piece()
        assert peer.piece is not None
        peer.sends, peer.sent_s = 1, self._clock()
        self._out.append(ev.SendState(peer.replica, self.view, peer.acked, peer.piece))

    def _send_operations(self, peer: Peer) -> None:
        while peer.sent < self._last and peer.sends < MAX_SENDS:
            first = peer.sent + 1
            operations = self._operations_from(first)
            peer.sent, peer.sent_s = first + len(operations) - 1, self._clock()
            peer.sends += 1
            self._out.append(ev.SendOperations(peer.replica, self.view, first, operations, self.rows.sampled))

    def _operations_from(self, first: int) -> tuple[ev.Operation, ...]:
        """One message's worth of the log: bounded in number, and in bytes from the second one on."""
        found: list[ev.Operation] = []
        nbytes = 0
        for number in range(first, min(self._last, first + MAX_OPERATIONS_A_SEND - 1) + 1):
            operation = self._operation(number)
            nbytes += operation.nbytes if isinstance(operation, ev.InsertRows) else 0
            if found and nbytes > MAX_BYTES_A_SEND:
                break
            found.append(operation)
        return tuple(found)

    def _hear_peer(self, event: ev.PeerAnswer) -> None:
        if event.newer is not None and event.newer.number > self.view.number:
            self._adopt(event.newer)
            return
        peer = self._peer
        if peer is None or peer.replica != event.replica or event.view_number < peer.since_view:
            return
        if event.pieces is not None:
            self._send_next_piece(peer, event)
            return
        peer.sends = max(0, peer.sends - 1)
        if event.applied is None:
            # Nobody answered: `_resend` tries again after a pause.
            peer.sends = max(1, peer.sends)
            if peer.mode is PeerMode.EMPTY:
                peer.sent_s = self._clock() - STATE_RESEND_S + RESEND_S
            return
        if peer.mode is PeerMode.EMPTY:
            if event.view_number != self.view.number or event.applied < 0:
                return
            peer.end_export()
            peer.mode, peer.joins_at = PeerMode.JOINING, self._last
            peer.sends, peer.sent = 0, event.applied
            peer.acked = event.applied
        peer.acked = max(peer.acked, min(event.applied, self._last))
        peer.sent = max(peer.sent, peer.acked)
        self._report_in_sync()

    def _send_next_piece(self, peer: Peer, event: ev.PeerAnswer) -> None:
        """An answer that came twice, or late, changes nothing."""
        export, piece = peer.export, peer.piece
        if event.view_number != self.view.number or export is None or piece is None or piece.last:
            return
        if event.pieces == piece.number + 1:
            peer.piece, peer.sends = export.next_piece(), 0

    def _report_in_sync(self) -> None:
        candidate = self.in_sync
        if candidate is not None:
            self._out.append(ev.ReportInSync(self.view.shard, self.view.number, candidate))

    def _resend(self) -> None:
        peer = self._peer
        if peer is None:
            return
        self._report_in_sync()
        silent_s = self._clock() - peer.sent_s
        if peer.mode is PeerMode.EMPTY:
            if peer.sends and silent_s > STATE_RESEND_S:
                peer.sends = 0
        elif peer.acked < self._last and silent_s > RESEND_S:
            peer.sent, peer.sends = peer.acked, 0

    def _trim(self) -> None:
        """Forget operations that nobody needs any more."""
        needed = self._applied if self._peer is None else min(self._applied, self._peer.acked)
        while self._log and self._log_first <= needed:
            self._log.popleft()
            self._log_first += 1

    def _operation(self, number: int) -> ev.Operation:
        return self._log[number - self._log_first]

    # -- the backup and the candidate ------------------------------------------------------------------

    def _accept(self, event: ev.AcceptOperations) -> None:
        if not self._may_follow(event.call, event.view):
            return
        if self.role is Role.CANDIDATE and self._installed_in != self.view.number:
            self._answer_peer(event.call, None)  # what it holds is of another time: it waits for the state
            return
        for number, operation in enumerate(event.operations, event.first):
            if number > self._applied:
                self._early[number] = operation
        while self._applied + 1 in self._early:
            self.rows.apply(self._early.pop(self._applied + 1))
            self._applied += 1
        self.rows.sampled = max(self.rows.sampled, event.sampled)
        self._answer_peer(event.call, self._applied)

    def _install(self, event: ev.Install) -> None:
        if not self._may_follow(event.call, event.view):
            return
        # A view has one state. A repeated piece must not take back what came after it.
        if self.role is Role.CANDIDATE and self._installed_in != self.view.number:
            self._take_piece(event)
            if self._installed_in != self.view.number:
                answer = ev.PeerAnswer(self.me, self.view.number, pieces=self._pieces)
                self._answer(event.call, answer)
                return
        self._answer_peer(event.call, self._applied)

    def _take_piece(self, event: ev.Install) -> None:
        if self._pieces_of != self.view.number:
            self._pieces_of, self._pieces = self.view.number, 0
        if event.piece.number != self._pieces:
            return
        self.rows.install(event.piece)
        self._pieces += 1
        if event.piece.last:
            self._early.clear()
            self._applied = self._last = event.applied
            self._installed_in = self.view.number

    def _may_follow(self, call: ev.CallId, view: ShardView) -> bool:
        """Whether what comes in this view counts; otherwise it is refused."""
        if view.number > self.view.number:
            self._adopt(view)
        if view.number < self.view.number:
            self._answer(call, ev.PeerAnswer(self.me, view.number, None, self.view))
            return False
        if self.role not in (Role.BACKUP, Role.CANDIDATE):
            self._answer_peer(call, None)
            return False
        return True

    def _answer_peer(self, call: ev.CallId, applied: int | None) -> None:
        self._answer(call, ev.PeerAnswer(self.me, self.view.number, applied))

    # -- views ----------------------------------------------------------------------------------------

    def _adopt(self, view: ShardView) -> None:
        if view.number <= self.view.number:
            return
        before, self.view = self.role, view
        role = self.role
        if role is Role.PRIMARY:
            if before is not Role.PRIMARY:
                self._begin_as_primary()
            self._take_peer(view)
        elif before is Role.PRIMARY or role is Role.NONE:
            self._step_down()

    def _begin_as_primary(self) -> None:
        """From the backup's copy; or from nothing, where this shard is new."""
        self._early.clear()
        self._last = self._applied
        self._log.clear()
        self._log_first = self._last + 1
        self._drop_peer()

    def _drop_peer(self) -> None:
        if self._peer is not None:
            self._peer.end_export()
        self._peer = None

    def _take_peer(self, view: ShardView) -> None:
        wanted = view.backup or view.candidate
        peer = self._peer
        if wanted is None:
            self._drop_peer()
        elif view.backup is not None and peer is not None and peer.replica == wanted:
            peer.mode = PeerMode.BACKUP
            peer.sends, peer.sent = 0, peer.acked  # once more, in the new view: the old one is refused
        else:
            self._drop_peer()
            self._peer = Peer(wanted, view.number, PeerMode.EMPTY, self._applied, self._applied)

    def _step_down(self) -> None:
        """This replica is nobody now: it answers who waits, and holds nothing."""
        calls = [call for waiting in self._waiting.values() for call in waiting]
        for call in calls:
            self._answer(call, ev.NotPrimary(self.view))
        self._waiting.clear()
        self._proposed.clear()
        self._closing = False
        self._log.clear()
        self._early.clear()
        self._drop_peer()
        self._applied = self._last = self._installed_in = self._pieces_of = 0
        self._log_first = 1
        self.rows.clear()

    def _answer(self, call: ev.CallId, value: object) -> None:
        self._out.append(ev.Answer(call, value))


def _role_in(view: ShardView, me: Replica) -> Role:
    if view.primary == me:
        return Role.PRIMARY
    if view.backup == me:
        return Role.BACKUP
    return Role.CANDIDATE if view.candidate == me else Role.NONE
