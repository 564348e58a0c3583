"""`GlacierOptions`: how blobs are laid out in an object store, and requested."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GlacierOptions:
    """How blobs are laid out and requested; the defaults suit S3."""

    inline_bytes: int = 256 * 1024
    """Values up to this size are kept in the head object: one request reads or writes them."""
    multipart_bytes: int = 16 * 1024 * 1024
    """Bodies above this size are uploaded in parts."""
    part_bytes: int = 8 * 1024 * 1024
    """Size of a part, and of a ranged read."""
    concurrency: int = 8
    """Requests at once for one value, and values at once in a batch."""
    upload_window: int = 4
    """Parts of one upload in memory at once."""
    conditional_writes: bool = True
    """Whether writes to one key by several processes exclude each other. False is for servers that cannot,
    and then only one process may write."""
    read_unencrypted: bool = False
    """Whether objects in the clear are read although there is an encryption key."""
