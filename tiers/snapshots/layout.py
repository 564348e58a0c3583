"""The format of a snapshot file, version 1.

    Arrow IPC stream      schema: record (binary), buffer (large_binary); its metadata says what it is
      rows                a value is one row with its packed `Record` and its first buffer, and one row,
                          without a record, for each further buffer; a buffer may be followed by zeros up
                          to a multiple of 8 bytes (the record knows its length)
      end of stream
    trailer, 56 bytes     magic, format, entries, bytes of the values, length of all that comes before,
                          xxh3 of all that comes before, xxh3 of the trailer up to here

The trailer is read first. Nothing is given to Arrow before the checksum over the whole file was found
right: damage can neither crash a parser nor pass for a value. A file that was made to deceive can have
right checksums, so Arrow's arrays are validated, records are parsed strictly, and nothing is unpickled.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

from ...errors import CorruptData
from ..formats import check_format

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
MAGIC = b"memsnap\x00"
METADATA_KEY = b"memories.snapshot"

_TRAILER = struct.Struct("<8sQQQQQ")
_CHECK = struct.Struct("<Q")
TRAILER_BYTES = _TRAILER.size + _CHECK.size


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What a snapshot is: how many entries of how many bytes (before any encoding of the file), how long
    the file is, when it was made (seconds since the Unix epoch), and what its maker wrote about it."""

    entries: int
    value_bytes: int
    file_bytes: int
    created_s: float
    description: str
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Trailer:
    """The last bytes of a snapshot."""

    entries: int
    value_bytes: int
    stream_bytes: int
    checksum: int

    def pack(self) -> bytes:
        """The trailer as bytes."""
        packed = _TRAILER.pack(
            MAGIC, FORMAT, self.entries, self.value_bytes, self.stream_bytes, self.checksum
        )
        return packed + _CHECK.pack(xxh3_64_intdigest(packed))

    @classmethod
    def unpack(cls, packed: bytes) -> Trailer:
        """The inverse of `pack`. Raises `CorruptData`."""
        if len(packed) != TRAILER_BYTES or not packed.startswith(MAGIC):
            raise CorruptData("this is not a whole snapshot: its last bytes are not a snapshot's trailer")
        if _CHECK.unpack(packed[_TRAILER.size :])[0] != xxh3_64_intdigest(packed[: _TRAILER.size]):
            raise CorruptData("the snapshot's trailer is damaged: it does not match its checksum")
        _, version, entries, value_bytes, stream_bytes, checksum = _TRAILER.unpack(packed[: _TRAILER.size])
        check_format(version, FORMAT, "the snapshot")
        return cls(entries, value_bytes, stream_bytes, checksum)


def make_schema(*, created_s: float, description: str) -> pa.Schema:
    """The schema of the stream, which says what the file is."""
    import pyarrow as pa

    about = json.dumps({"format": FORMAT, "created_s": created_s, "description": description})
    fields = [pa.field("record", pa.binary()), pa.field("buffer", pa.large_binary())]
    return pa.schema(fields, metadata={METADATA_KEY: about.encode()})


def read_schema(schema: pa.Schema) -> tuple[float, str]:
    """When the snapshot was made and its description. Raises `CorruptData` for another schema."""
    expected = make_schema(created_s=0, description="")
    if not schema.equals(expected, check_metadata=False):
        raise CorruptData(f"the file's columns are {schema.names}, not those of a snapshot")
    try:
        about: dict[str, Any] = json.loads((schema.metadata or {})[METADATA_KEY])
        return float(about["created_s"]), str(about["description"])
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptData(f"the snapshot's description of itself cannot be read: {error}") from error
