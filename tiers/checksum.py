"""Checksums of stored bytes: xxh3, 64 bits, of a whole buffer or of each of its 4 kB blocks.

They find damage, not forgery: whoever may write the files may also write matching checksums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

BLOCK_BYTES = 4096
"""Grain of verified partial reads: a page, which is the least that a disk read costs anyway."""


def checksum(buffer: bytes | bytearray | memoryview) -> int:
    """xxh3 of the whole buffer, an unsigned 64-bit number. The buffer must be C-contiguous."""
    return int(xxh3_64_intdigest(buffer))


def block_checksums(buffer: bytes | bytearray | memoryview) -> npt.NDArray[np.uint64]:
    """xxh3 of each 4 kB block, the last one possibly shorter; shape [ceil(nbytes / 4096)]."""
    view = memoryview(buffer).cast("B")
    # A loop in Python, but over pages: at 4 kB each the hash itself is the larger part of the time,
    # and NumPy arithmetic over 64-bit lanes would be slower than xxh3.
    digests = [xxh3_64_intdigest(view[at : at + BLOCK_BYTES]) for at in range(0, view.nbytes, BLOCK_BYTES)]
    return np.array(digests, dtype=np.uint64)
