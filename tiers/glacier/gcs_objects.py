"""`GCSObjects`: Google Cloud Storage, by google-cloud-storage."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
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

_UPLOAD_GRAIN = 256 * 1024
"""Resumable uploads take chunks of multiples of this."""


class GCSObjects(ObjectStore):
    """Objects of one bucket; tags are generations.

    Large objects go by one resumable upload, part after part: the service has no upload of parts in
    parallel that becomes visible at once, except by composing objects that are visible before.
    """

    def __init__(self, client: Any, bucket: str, *, timeout: tuple[float, float]) -> None:
        self._client = client
        self._name = bucket
        self._bucket = client.bucket(bucket)
        self._timeout = timeout
        self._bucket_seen = False
        self.address = f"gs://{bucket}"

    def read(self, name: str, length: int) -> Fetched:
        while True:
            blob = self._bucket.blob(name)
            with self._translated(f"reading {name}", absent_object=True):
                data = blob.download_as_bytes(
                    start=0,
                    end=length - 1,
                    raw_download=True,
                    checksum=None,
                    retry=None,
                    timeout=self._timeout,
                )
                size, generation = len(data), blob.generation
                if size == length:  # there may be more, and downloads do not say how much
                    blob.reload(retry=None, timeout=self._timeout)
                    size = int(blob.size)
            if blob.generation == generation:
                return Fetched(memoryview(data), str(generation), size)

    def read_into(self, name: str, start: int, into: memoryview) -> None:
        sink = _Sink(into)
        with self._translated(f"reading {name}", absent_object=True):
            self._bucket.blob(name).download_to_file(
                sink,
                start=start,
                end=start + into.nbytes - 1,
                raw_download=True,
                checksum=None,
                retry=None,
                timeout=self._timeout,
            )
        if sink.filled != into.nbytes:
            raise CorruptData(
                f"{self.address}: {name} ends at byte {start + sink.filled}, "
                f"{into.nbytes - sink.filled} bytes early"
            )

    def put(self, name: str, part: Part, condition: Condition | None) -> str:
        match = None if condition is None else int(condition.tag or 0)
        blob = self._bucket.blob(name)
        with self._translated(f"writing {name}"):
            blob.upload_from_string(
                b"".join(part),
                content_type="application/octet-stream",
                if_generation_match=match,
                retry=None,
                timeout=self._timeout,
            )
        return str(blob.generation)

    def upload(
        self, name: str, parts: PartSource, *, workers: Executor, window: int, attempt: Attempt
    ) -> None:
        def send() -> None:
            stream = _Source(parts())
            first = stream.fill()
            grains = -(-max(first, 1) // _UPLOAD_GRAIN)
            blob = self._bucket.blob(name, chunk_size=grains * _UPLOAD_GRAIN)
            with self._translated(f"uploading {name}"):
                blob.upload_from_file(
                    stream, content_type="application/octet-stream", retry=None, timeout=self._timeout
                )

        attempt(send, f"uploading {name}")

    def delete(self, name: str) -> None:
        with contextlib.suppress(ObjectGone), self._translated(f"deleting {name}", absent_object=True):
            self._bucket.blob(name).delete(retry=None, timeout=self._timeout)

    def delete_if(self, name: str, tag: str) -> None:
        with contextlib.suppress(ObjectGone), self._translated(f"deleting {name}", absent_object=True):
            self._bucket.blob(name).delete(if_generation_match=int(tag), retry=None, timeout=self._timeout)

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        pages = self._client.list_blobs(
            self._bucket,
            prefix=prefix,
            start_offset=after or None,
            page_size=1000,
            fields="items(name,size,updated),nextPageToken",
            retry=None,
            timeout=self._timeout,
        ).pages
        while True:
            with self._translated(f"listing {prefix}*"):
                page = next(pages, None)
            if page is None:
                return
            for blob in page:
                if blob.name != after:  # start_offset is inclusive
                    yield Listed(blob.name, int(blob.size), blob.updated.timestamp())

    def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _translated(self, doing: str, *, absent_object: bool = False) -> Iterator[None]:
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
        from requests import exceptions as http
        from urllib3.exceptions import HTTPError

        what = f"{doing} in {self.address}"
        try:
            yield
        except api.NotFound as error:
            if absent_object and self._bucket_exists(str(error)):
                raise ObjectGone(what) from error
            raise BucketNotFound(
                f"{what}: the bucket {self._name!r} does not exist: create it, or correct its name"
            ) from error
        except api.PreconditionFailed as error:
            raise ConflictingWrite(
                f"{what}: somebody else wrote it at the same time; nothing was changed"
            ) from error
        except (api.Forbidden, api.Unauthorized) as error:
            raise PermissionRefused(
                f"{what} was refused: check the credentials and what they may do in this bucket: {error}"
            ) from error
        except (auth.DefaultCredentialsError, auth.RefreshError) as error:
            raise PermissionRefused(f"{what}: no usable credentials: {error}") from error
        except api.RequestRangeNotSatisfiable as error:
            raise CorruptData(f"{what}: the object is shorter than it should be") from error
        except api.GoogleAPICallError as error:
            if error.code == 507:
                raise StorageFull(f"{what}: there is no room; nothing was changed: {error}") from error
            if error.code is not None and error.code != 429 and error.code < 500:
                raise InvalidValue(f"{what}: the service does not take this request: {error}") from error
            raise Unavailable(f"{what}: {error}") from error
        except (
            InvalidResponse,
            DataCorruption,  # damaged on the way: the client compares checksums
            auth.TransportError,
            http.RequestException,
            HTTPError,  # raw downloads read from below requests
            ConnectionError,
            TimeoutError,
        ) as error:
            raise Unavailable(f"{what}: {error}") from error
        else:
            self._bucket_seen = True

    def _bucket_exists(self, message: str) -> bool:
        """Whether a 404 is the object's. The service's text says so; where it does not, one listing does."""
        if "bucket does not exist" in message:
            return False
        if not self._bucket_seen:
            next(self.list("", ""), None)  # raises BucketNotFound, or is a first success
        return True


class _Sink(io.RawIOBase):
    """A file whose writes fill a view; what does not fit is dropped and not counted."""

    def __init__(self, into: memoryview) -> None:
        self._into = into
        self.filled = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        taken = min(view.nbytes, self._into.nbytes - self.filled)
        self._into[self.filled : self.filled + taken] = view[:taken]
        self.filled += taken
        return view.nbytes

    def tell(self) -> int:
        return self.filled


class _Source(io.RawIOBase):
    """A file that reads parts one after the other, and holds one of them."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self._parts = parts
        self._part = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def fill(self) -> int:
        """Take the next part if the last one is used up; bytes at hand, 0 at the end."""
        while not self._part.nbytes:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._part = memoryview(b"".join(part))
        return self._part.nbytes

    def read(self, size: int = -1) -> bytes:
        pieces: list[memoryview] = []
        wanted = size
        while (wanted > 0 or size < 0) and self.fill():
            piece = self._part if size < 0 else self._part[:wanted]
            self._part = self._part[piece.nbytes :]
            pieces.append(piece)
            wanted -= piece.nbytes
        data = b"".join(pieces)
        self._position += len(data)
        return data
