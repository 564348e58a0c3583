"""`Record`: what a stored blob says of itself. Everything else is an index of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from ..errors import CorruptData
from .formats import check_format
from .packing import pack

FORMAT = 1
"""Format of the packed record; raised when a reader of the old format could misread the new one."""


class Version(NamedTuple):
    """Order of writes to one key: the coordinator's epoch, then a sequence number within it."""

    epoch: int = 0
    sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One key's entry in a tier, complete enough to rebuild any catalog from it.

    `header` is the codec header of the value, `lengths` and `checksums` (xxh3, 64 bits) are those of its
    buffers before compression. Times are seconds since the Unix epoch. `clients` holds the highest
    request sequence of each client that this key has seen, so that a repeated request can be told from
    a new one even after the coordinator has died. A `tombstone` has no buffers and stands for a
    deletion; a `superseded` blob is older than an acknowledged value that lives elsewhere. `replicas` and
    `durable` are what the writer asked for on a cluster.
    """

    key: str
    header: bytes = b""
    lengths: tuple[int, ...] = ()
    checksums: tuple[int, ...] = ()
    has_pickle: bool = False
    version: Version = Version()
    created_s: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: float = 0.0
    expires_s: float | None = None
    pinned: bool = False
    replicas: int = 1
    durable: bool = False
    clients: Mapping[str, int] = field(default_factory=dict)
    tombstone: bool = False
    superseded: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of the value's buffers and header, before compression: what a budget counts."""
        return sum(self.lengths) + len(self.header)

    @property
    def is_mark(self) -> bool:
        """Whether it only says that a value is gone, or older than another."""
        return self.tombstone or self.superseded

    def expired(self, now_s: float) -> bool:
        """Whether the entry's time to live has run out."""
        return self.expires_s is not None and now_s >= self.expires_s

    def replace(self, **changes: Any) -> Record:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def pack(self) -> bytes:
        """The record as msgpack, for file headers, object metadata and inventories."""
        return pack(
            (
                FORMAT,
                self.key.encode("utf-8", "surrogatepass"),
                self.header,
                self.lengths,
                self.checksums,
                self.has_pickle,
                self.version,
                self.created_s,
                dict(self.metadata),
                self.priority,
                self.expires_s,
                self.pinned,
                self.replicas,
                self.durable,
                dict(self.clients),
                self.tombstone,
                self.superseded,
            )
        )

    @staticmethod
    def unpack(packed: bytes | memoryview) -> Record:
        """The inverse of `pack`. Raises `CorruptData` for anything that `pack` could not have made."""
        try:
            fields = msgpack.unpackb(
                packed, use_list=False, unicode_errors="surrogatepass", strict_map_key=True
            )
            check_format(fields[0], FORMAT, "the record of a value")
            (
                _,
                key,
                header,
                lengths,
                checksums,
                has_pickle,
                (epoch, sequence),
                created_s,
                metadata,
                priority,
                expires_s,
                pinned,
                replicas,
                durable,
                clients,
                tombstone,
                superseded,
            ) = fields
            draft = RecordDraft(
                str(key, "utf-8", "surrogatepass"),
                bytes(header),
                tuple(map(int, lengths)),
                tuple(map(int, checksums)),
                bool(has_pickle),
                Version(int(epoch), int(sequence)),
                float(created_s),
                _lists(metadata) if metadata else {},
                float(priority),
                None if expires_s is None else float(expires_s),
                bool(pinned),
            )
            draft.replicas = int(replicas)
            draft.durable = bool(durable)
            if clients:
                draft.clients = {str(client): int(sequence) for client, sequence in clients.items()}
            draft.tombstone = bool(tombstone)
            draft.superseded = bool(superseded)
            return draft.finished()
        except CorruptData:
            raise
        except (
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            AttributeError,
            OverflowError,
            msgpack.UnpackException,
        ) as error:
            raise CorruptData(f"a record of {len(packed)} bytes cannot be read: {error}") from error


class RecordDraft:
    """A record that is being made, where many are.

    The constructor of a frozen dataclass sets each field through `object.__setattr__`: 3 us for a record,
    a third of storing a small value. A draft has the same slots and takes a tenth of that.
    """

    __slots__ = Record.__slots__

    def __init__(
        self,
        key: str,
        header: bytes,
        lengths: tuple[int, ...],
        checksums: tuple[int, ...],
        has_pickle: bool,
        version: Version,
        created_s: float,
        metadata: Mapping[str, Any],
        priority: float,
        expires_s: float | None,
        pinned: bool,
    ) -> None:
        self.key = key
        self.header = header
        self.lengths = lengths
        self.checksums = checksums
        self.has_pickle = has_pickle
        self.version = version
        self.created_s = created_s
        self.metadata = metadata
        self.priority = priority
        self.expires_s = expires_s
        self.pinned = pinned
        self.replicas = 1
        self.durable = False
        self.clients: Mapping[str, int] = {}
        self.tombstone = False
        self.superseded = False

    def finished(self) -> Record:
        """The draft itself, which is a `Record` from now on and changes no more."""
        made: Any = self
        made.__class__ = Record
        record: Record = made
        return record


def _lists(value: Any) -> Any:
    """Metadata as it was given: JSON-like, where msgpack's tuples were lists."""
    if isinstance(value, tuple):
        return [_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return value
