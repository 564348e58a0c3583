"""`AzureObjects`: Azure Blob Storage, by obstore."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

from ...errors import (
    BucketNotFound,
    ConflictingWrite,
    CorruptData,
    InvalidValue,
    PermissionRefused,
    StorageFull,
    Unavailable,
)
from .objects import Attempt, Condition, Fetched, Listed, ObjectGone, ObjectStore, Part, PartSource

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d+)")
_QUERY = re.compile(r"\?[^\s\"']*")
"""Addresses in messages end here: with a shared access signature the query is a secret."""


class AzureObjects(ObjectStore):
    """Blobs of one container. Large ones go as blocks in parallel, which one request makes visible;
    blocks that are never made visible are removed by the service after a week."""

    def __init__(self, store: Any, container: str, *, part_bytes: int) -> None:
        self._store = store
        self._container = container
        self._part_bytes = part_bytes
        self.address = f"az://{container}"

    def read(self, name: str, length: int) -> Fetched:
        import obstore

        with self._translated(f"reading {name}"):
            result = obstore.get(self._store, name, options={"range": (0, length)})
            data = memoryview(result.bytes())
            return Fetched(data, str(result.meta["e_tag"]), int(result.meta["size"]))

    def read_into(self, name: str, start: int, into: memoryview) -> None:
        import obstore

        with self._translated(f"reading {name}"):
            data = memoryview(obstore.get_range(self._store, name, start=start, length=into.nbytes))
        if data.nbytes != into.nbytes:
            raise CorruptData(
                f"{self.address}: {name} ends at byte {start + data.nbytes}, "
                f"{into.nbytes - data.nbytes} bytes early"
            )
        into[:] = data

    def put(self, name: str, part: Part, condition: Condition | None) -> str:
        import obstore

        mode: Any = "overwrite"
        if condition is not None:
            mode = {"e_tag": condition.tag} if condition.tag else "create"
        with self._translated(f"writing {name}"):
            result = obstore.put(self._store, name, b"".join(part), mode=mode, use_multipart=False)
            return str(result["e_tag"])

    def upload(
        self, name: str, parts: PartSource, *, workers: Executor, window: int, attempt: Attempt
    ) -> None:
        import obstore

        def send() -> None:
            pieces = (memoryview(b"".join(part)) for part in parts())
            with self._translated(f"uploading {name}"):
                obstore.put(
                    self._store,
                    name,
                    pieces,
                    use_multipart=True,
                    chunk_size=self._part_bytes,
                    max_concurrency=window,
                )

        attempt(send, f"uploading {name}")

    def delete(self, name: str) -> None:
        import obstore

        with contextlib.suppress(ObjectGone), self._translated(f"deleting {name}"):
            obstore.delete(self._store, name)

    def delete_many(self, names: Sequence[str]) -> None:
        import obstore

        try:
            with self._translated(f"deleting {len(names)} objects"):
                obstore.delete(self._store, list(names))
        except ObjectGone:  # one of them was not there, and the others may not have had their turn
            for name in names:
                self.delete(name)

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        import obstore

        # This library lists whole folders only: narrow it down here.
        folder = prefix.rpartition("/")[0]
        pages = iter(obstore.list(self._store, folder or None, offset=after or None, chunk_size=1000))
        while True:
            with self._translated(f"listing {prefix}*"):
                page = next(pages, None)
            if page is None:
                return
            for item in page:
                if item["path"].startswith(prefix):
                    yield Listed(item["path"], int(item["size"]), item["last_modified"].timestamp())

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        from obstore import exceptions as obs

        try:
            yield
        except (FileNotFoundError, obs.BaseError) as error:
            # Without the cause: its text shows whole addresses, and signatures are in them.
            raise self._error(f"{doing} in {self.address}", error, obs) from None

    def _error(self, what: str, error: Exception, obs: Any) -> Exception:
        text = str(error)
        code = "".join(_CODE.findall(text)[:1])
        status = int("".join(_STATUS.findall(text)[:1]) or 0)
        brief = code or _QUERY.sub("?...", text.partition("Debug source")[0]).strip()[:300]
        if code == "ContainerNotFound" or (isinstance(error, obs.GenericError) and status == 404):
            return BucketNotFound(
                f"{what}: the container {self._container!r} does not exist: create it, or correct its name"
            )
        if isinstance(error, FileNotFoundError):
            return ObjectGone(what)
        if isinstance(error, obs.AlreadyExistsError | obs.PreconditionError) or status in (409, 412):
            return ConflictingWrite(f"{what}: somebody else wrote it at the same time; nothing was changed")
        if isinstance(error, obs.PermissionDeniedError | obs.UnauthenticatedError) or status in (401, 403):
            return PermissionRefused(
                f"{what} was refused ({brief}): check the credentials and what they may do"
            )
        if status == 416:
            return CorruptData(f"{what}: the object is shorter than it should be")
        if status == 507 or code == "AccountIsFull":
            return StorageFull(f"{what}: there is no room; nothing was changed ({brief})")
        if 400 <= status < 500 and status not in (408, 429):
            return InvalidValue(f"{what}: the service does not take this request ({brief})")
        return Unavailable(f"{what}: {brief}")
