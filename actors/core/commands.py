"""What the coordinator core asks its shell to do. See `actors.core` for who answers with what.

Commands to members carry a `Fence`; the member answers each with `events.Done` (or, to
`TakeInventory`, `events.InventoryReported`) that repeats the fence's stamp. A command that gets no
answer is sent again with the same stamp: executing it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .model import Clients, Fence, Kind, MemberId, Outcome, RequestId, StoreOptions, Version, View


@dataclass(frozen=True, slots=True)
class PersistView:
    """Append the view to the log in the KV: create entry `view.number`, only if it does not exist yet.

    Answer: `ViewPersisted` or `ViewRefused`.
    """

    view: View


@dataclass(frozen=True, slots=True)
class CheckView:
    """Look whether entry `number + 1` of the view log exists. Answer: `ViewChecked`."""

    number: int
    asked_s: float


@dataclass(frozen=True, slots=True)
class TakeInventory:
    """Raise the member's epoch, let its writes finish, and report all that it keeps."""

    fence: Fence


@dataclass(frozen=True, slots=True)
class PutMany:
    """Keep these keys, in place of what is there in an older version.

    `rows` are their positions in the request's payload (None: all of it); `payload` is the opaque thing
    of the request (an object reference, inline bytes). `clients` holds the marks of the keys that have
    seen other clients as well; all others have `((request.client, request.sequence),)`.
    """

    fence: Fence
    request: RequestId
    version: Version
    keys: tuple[str, ...]
    sizes: tuple[int, ...]
    rows: tuple[int, ...] | None
    payload: Any
    options: StoreOptions
    clients: Mapping[str, Clients]


@dataclass(frozen=True, slots=True)
class CopyMany:
    """Fetch these keys in exactly these versions from another member, verify them, and keep them."""

    fence: Fence
    source: MemberId
    source_incarnation: int
    keys: tuple[str, ...]
    versions: tuple[Version, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DropMany:
    """Forget these keys where they are at most (`exact`: exactly) in these versions.

    What was put by a command with a later stamp stays; puts of these versions with earlier stamps that
    arrive later are refused. Durable members have made it stable when they answer.
    """

    fence: Fence
    keys: tuple[str, ...]
    versions: tuple[Version, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class MarkMany:
    """Replace what is older than the version by a tombstone or a "superseded" mark, without value.

    `withdrawn`: a value of that very version as well, be it the same or newer, if an earlier command has put
    it; such a put that arrives later is refused. Durable members have fsynced the mark when they answer.
    """

    fence: Fence
    kind: Kind
    version: Version
    keys: tuple[str, ...]
    clients: Mapping[str, Clients]
    withdrawn: Version | None = None


@dataclass(frozen=True, slots=True)
class UpdateMany:
    """Change what is said about these keys, in exactly these versions, and keep their bytes.

    `changes` names fields of the record; the request becomes one of the keys' marks.
    """

    fence: Fence
    request: RequestId
    keys: tuple[str, ...]
    versions: tuple[Version, ...]
    changes: Mapping[str, Any]


MemberCommand = TakeInventory | PutMany | CopyMany | DropMany | MarkMany | UpdateMany


@dataclass(frozen=True, slots=True)
class ResetMember:
    """Tell this life of a member that it is no longer one: it forgets what is volatile, takes a new
    incarnation and announces itself again. No answer is awaited."""

    member: MemberId
    incarnation: int
    epoch: int
    """A member that has seen a newer coordinator does not obey."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A disk that was declared gone for good has come back: put it aside, do not let it join."""

    member: MemberId
    incarnation: int


@dataclass(frozen=True, slots=True)
class Located:
    """Where a key can be read, best place first, or why it cannot be."""

    outcome: Outcome
    version: Version = Version()
    nbytes: int = 0
    members: tuple[tuple[MemberId, int], ...] = ()
    """Pairs of member and incarnation."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request, for everyone who waits for this request id.

    `outcomes` is None where every key went well. `copies` is the least number of nodes that a stored
    key is on, `durable` whether every one is on stable storage.
    """

    request: RequestId
    outcomes: tuple[Outcome, ...] | None = None
    version: Version = Version()
    copies: int = 0
    durable: bool = False
    located: tuple[Located, ...] = ()
    keys: tuple[str, ...] = ()
    message: str = ""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """There is no answer to this request yet, and nothing of it is kept: it is to be asked once more."""

    request: RequestId


@dataclass(frozen=True, slots=True)
class Announce:
    """Something that subscribers and the status page want to know: moved, evicted, repaired, lost, ...

    Of copies: `source` is where they came from, `member` where they are now, `nbytes` what was copied.
    """

    what: str
    member: MemberId = ""
    keys: tuple[str, ...] = ()
    source: MemberId = ""
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """Another coordinator has taken over: end this process (Ray's restart is not wanted)."""

    reason: str


Command = (
    PersistView | CheckView | MemberCommand | ResetMember | Quarantine | Reply | AskAgain | Announce | Stop
)
