"""The head object of a blob: its record, where its bytes are, and for small ones the bytes themselves.

::

    8 bytes   magic "MEMGLAC1"
    u32       length of the outer part
    u32       length of the inner part
    u64       xxh3 of everything from the lengths to the end of the inner part, this field left out
    outer     msgpack [format, write id, key id or nil, salt]: what must be readable without a key
    inner     msgpack [record, body id, body key id, body salt, block table], sealed if there is a key id
    payload   the stored blocks, if there is no body object

Every write has an id of its own, so no two head objects are ever equal: a writer whose reply was lost
can tell its own object from another's, and a tag never comes back.
"""

from __future__ import annotations

import secrets
import struct
from dataclasses import dataclass, field

import msgpack
import numpy as np
from xxhash import xxh3_64

from ...errors import CorruptData, PermissionRefused
from ..formats import check_format
from ..record import Record
from .crypto import BlockCipher, KeyRing, new_salt
from .layout import BlockTable, PlainStream

MAGIC = b"MEMGLAC1"
FORMAT = 1

_LENGTHS = struct.Struct("<II")
_CHECKSUM = struct.Struct("<Q")
_PRELUDE_BYTES = len(MAGIC) + _LENGTHS.size + _CHECKSUM.size


@dataclass(frozen=True, slots=True)
class Body:
    """Where the stored blocks are (`body_id` empty: behind the envelope) and with what they are sealed."""

    table: BlockTable
    body_id: str = ""
    key_id: str | None = None
    salt: bytes = b""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A record and its body, as one write put them."""

    record: Record
    body: Body
    key_id: str | None = None
    write_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    nbytes: int = 0
    """Bytes of the head object before the payload, where it was read from one."""

    def pack(self, name: str, keys: KeyRing | None) -> bytes:
        """The head object up to the payload. `name` is the object's, which sealing binds it to."""
        body = self.body
        inner = bytes(
            msgpack.packb(
                [self.record.pack(), body.body_id, body.key_id, body.salt, body.table.pack()],
                use_bin_type=True,
            )
        )
        salt = b""
        if self.key_id is not None:
            assert keys is not None, "a key id without keys"
            # A fresh salt for each write: the same block number must never seal two contents.
            salt = new_salt()
            inner = _cipher(keys, self.key_id, salt, name, self.write_id).seal(0, inner)
        outer = bytes(msgpack.packb([FORMAT, self.write_id, self.key_id, salt], use_bin_type=True))
        lengths = _LENGTHS.pack(len(outer), len(inner))
        return b"".join([MAGIC, lengths, _checksum(lengths, outer, inner), outer, inner])


UNREADABLE = Envelope(
    Record(key=""), Body(BlockTable(1, "none", np.zeros(0, np.uint32), np.zeros(0, np.uint64)))
)
"""Stands for a damaged envelope, of which only the object around it is known."""


def envelope_bytes(start: memoryview) -> int:
    """How long the envelope is that begins with these bytes. Raises `CorruptData`."""
    if start.nbytes < _PRELUDE_BYTES or start[: len(MAGIC)] != MAGIC:
        raise CorruptData("it does not begin as an object of the glacier tier")
    outer, inner = _LENGTHS.unpack_from(start, len(MAGIC))
    return int(_PRELUDE_BYTES + outer + inner)


def read_envelope(
    data: memoryview, name: str, keys: KeyRing | None, *, read_unencrypted: bool = True
) -> Envelope:
    """The envelope at the start of the data, which may go on with the payload.

    Raises `CorruptData`; `PermissionRefused` where a key is needed that we do not have, or where the
    object is not encrypted although everything should be.
    """
    size = envelope_bytes(data)
    if data.nbytes < size:
        raise CorruptData(f"it ends after {data.nbytes} bytes, in an envelope of {size}")
    outer_length, inner_length = _LENGTHS.unpack_from(data, len(MAGIC))
    lengths = data[len(MAGIC) :][: _LENGTHS.size]
    outer = data[_PRELUDE_BYTES:][:outer_length]
    inner: memoryview | bytes = data[_PRELUDE_BYTES + outer_length :][:inner_length]
    if data[len(MAGIC) + _LENGTHS.size :][: _CHECKSUM.size] != _checksum(lengths, outer, inner):
        raise CorruptData("its envelope does not match its checksum")
    try:
        written_format, write_id, key_id, salt = msgpack.unpackb(outer)
        check_format(written_format, FORMAT, "it")
        if not isinstance(write_id, bytes) or not isinstance(salt, bytes):
            raise CorruptData("its envelope has ids of the wrong type")
        if key_id is not None:
            if keys is None:
                raise PermissionRefused(
                    f"it is encrypted with key id {key_id!r}, and no encryption_key is configured"
                )
            inner = _cipher(keys, key_id, salt, name, write_id).open(0, inner)
        elif not read_unencrypted:
            raise PermissionRefused(
                "it is not encrypted although an encryption key is configured: whoever can write to the "
                "bucket may have put it there; read_unencrypted=True reads such objects"
            )
        packed_record, body_id, body_key_id, body_salt, table = msgpack.unpackb(inner)
        if key_id is not None and body_key_id is None:
            raise CorruptData("an encrypted envelope around a body that is not encrypted")
        if not isinstance(body_salt, bytes):
            raise CorruptData("its envelope has a salt of the wrong type")
        record = Record.unpack(packed_record)
        if min(record.lengths, default=0) < 0:
            raise CorruptData("its record has a buffer of negative length")
        body = Body(
            BlockTable.unpack(table, PlainStream(record.lengths).nbytes, sealed=body_key_id is not None),
            str(body_id),
            body_key_id,
            body_salt,
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        if isinstance(error, CorruptData):
            raise
        raise CorruptData(f"its envelope cannot be read: {error}") from error
    return Envelope(record, body, key_id, write_id, size)


def body_cipher(
    keys: KeyRing | None, key_id: str | None, salt: bytes, name: str, body_id: str
) -> BlockCipher | None:
    """What seals the blocks of the key with this object name; None for a body in the clear."""
    if key_id is None:
        return None
    if keys is None:
        raise PermissionRefused(f"encrypted with key id {key_id!r}, and no encryption_key is configured")
    return keys.cipher(key_id, salt, b"body\0" + name.encode() + b"\0" + body_id.encode())


def _cipher(keys: KeyRing, key_id: str, salt: bytes, name: str, write_id: bytes) -> BlockCipher:
    return keys.cipher(key_id, salt, b"head\0" + name.encode() + b"\0" + write_id)


def _checksum(*pieces: bytes | memoryview) -> bytes:
    state = xxh3_64()
    for piece in pieces:
        state.update(piece)
    return _CHECKSUM.pack(state.intdigest())
