"""A want of memory or of file descriptors, and a disk that does not answer, say nothing of a file."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import pyarrow as pa
import pytest

from memories.errors import CorruptData, Unavailable
from memories.tiers.cold import ColdBlobs
from memories.tiers.cold.containers import FILE_FORMATS
from memories.tiers.cold.containers.container import damage
from tests.unit.tiers.cold.plain_blobs import LARGE, blob, content_of, noise

SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from memories.tiers.cold import ColdBlobs

store = ColdBlobs(sys.argv[1])
pages = int(Path("/proc/self/statm").read_text().split()[0])
# From here on memory is to be had for the libraries' own needs, not for the value.
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 30_000_000,) * 2)
try:
    store.get("key")
except MemoryError:
    print("MemoryError", store.damage)
"""


def test_a_value_for_which_memory_is_short_is_not_damaged(tmp_path: Path) -> None:
    content = noise(60_000_000)
    with closing(ColdBlobs(tmp_path, file_format="parquet")) as store:
        store.put_many([blob("other", noise(LARGE)), blob("key", content)])
    ran = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY, str(tmp_path)],
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.stdout == "MemoryError []\n", ran.stderr
    with closing(ColdBlobs(tmp_path)) as store:
        assert content_of(store, "key") == content


@pytest.mark.parametrize("file_format", FILE_FORMATS)
def test_a_file_that_cannot_be_opened_for_want_of_descriptors_is_not_damaged(
    tmp_path: Path, file_format: str
) -> None:
    with closing(ColdBlobs(tmp_path, file_format=file_format)) as store:
        store.put_many([blob("key", noise(LARGE)), blob("other", noise(LARGE, 1))])
        assert content_of(store, "other") == noise(LARGE, 1)  # what is imported late is imported
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        with pytest.MonkeyPatch.context() as patched:
            # Another thread may take the last descriptor after our own look at the file.
            patched.setattr(Path, "open", lambda *_: nullcontext())
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                with pytest.raises(Unavailable, match="Too many open files"):
                    store.get("key")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert store.damage == []
        assert content_of(store, "key") == noise(LARGE)


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.EACCES])
def test_errors_of_the_system_go_through(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as raised, damage("not readable", OSError):
        raise OSError(number, os.strerror(number))
    assert not isinstance(raised.value, CorruptData)
    assert raised.value.errno == number


@pytest.mark.parametrize(
    "error",
    [OSError("no magic bytes"), OSError(errno.EINVAL, "before the start"), pa.ArrowInvalid("nonsense")],
)
def test_errors_of_the_content_are_damage(error: Exception) -> None:
    with pytest.raises(CorruptData, match="not readable"), damage("not readable", type(error)):
        raise error


def test_a_want_of_memory_that_arrow_tells_of_goes_through() -> None:
    with pytest.raises(MemoryError), damage("not readable", pa.ArrowException):
        raise pa.ArrowMemoryError("malloc of size 1048576 failed")
