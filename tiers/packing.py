"""msgpack as every header and record of ours is written."""

from __future__ import annotations

import threading
from typing import Any

import msgpack

_KEPT_BYTES = 64 * 1024


class _ThreadPacker(threading.local):
    """One packer a thread: to make one takes longer than to pack a record with it."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True, unicode_errors="surrogatepass").pack


_packer = _ThreadPacker()


def pack(value: Any) -> bytes:
    """The value as msgpack; text may hold lone surrogates, as the names of files do."""
    packed: bytes = _packer.pack(value)
    if len(packed) > _KEPT_BYTES:  # the packer would keep as much memory for as long as the thread lives
        _packer.renew()
    return packed
