"""`S3Objects`: Amazon S3 and servers that speak its language, by boto3."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime
from typing import Any

from ...errors import (
    BucketNotFound,
    ConflictingWrite,
    CorruptData,
    InvalidValue,
    MemoriesError,
    PermissionRefused,
    StorageFull,
    Unavailable,
)
from .crew import settle
from .objects import (
    Attempt,
    Condition,
    Fetched,
    Listed,
    ObjectGone,
    ObjectStore,
    Part,
    PartReader,
    PartSource,
)

log = logging.getLogger(__name__)

_SLICE_BYTES = 1024 * 1024
"""How much of an answer is read at once: urllib3 reads into a buffer of its own first, of this size."""

_REFUSED = {
    "AccessDenied",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_TRANSIENT = {
    "BadDigest",  # damaged on the way to the server
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict"}
_FULL = {"QuotaExceeded", "InsufficientCapacity", "StorageFull", "XMinioStorageFull"}


class S3Objects(ObjectStore):
    """Objects of one bucket.

    `client` is a boto3 S3 client that does not retry. `put_arguments` go with every object that is
    written (server-side encryption, storage class).
    """

    def __init__(self, client: Any, bucket: str, put_arguments: Mapping[str, Any] | None = None) -> None:
        self._client = client
        self._bucket = bucket
        self._put_arguments = dict(put_arguments or {})
        self.address = f"s3://{bucket} at {client.meta.endpoint_url}"
        # Uploads that could not be aborted because the server was away; tried again with the next upload.
        self._leftovers: list[tuple[str, str]] = []
        self._leftovers_lock = threading.Lock()

    def read(self, name: str, length: int) -> Fetched:
        with self._translated(f"reading {name}"):
            answer = self._get(name, 0, length)
            with contextlib.closing(answer["Body"]) as body:
                size = _whole_size(answer)
                data = memoryview(bytearray(min(length, size)))
                self._fill(body, data, name)
            return Fetched(data, answer["ETag"], size)

    def read_into(self, name: str, start: int, into: memoryview) -> None:
        with self._translated(f"reading {name}"):
            answer = self._get(name, start, into.nbytes)
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] < into.nbytes:
                    raise CorruptData(
                        f"{self.address}: {name} has {_whole_size(answer)} bytes, and "
                        f"{start + into.nbytes} were expected"
                    )
                self._fill(body, into, name)

    def put(self, name: str, part: Part, condition: Condition | None) -> str:
        arguments = dict(self._put_arguments)
        if condition is not None:
            arguments.update({"IfMatch": condition.tag} if condition.tag else {"IfNoneMatch": "*"})
        with self._translated(f"writing {name}", conditional=condition is not None):
            answer = self._client.put_object(
                Bucket=self._bucket, Key=name, Body=PartReader(part), **arguments
            )
            return str(answer["ETag"])

    def upload(
        self, name: str, parts: PartSource, *, workers: Executor, window: int, attempt: Attempt
    ) -> None:
        self._abort_leftovers()
        upload_id = attempt(lambda: self._begin(name), f"beginning the upload of {name}")
        running: deque[Future[str]] = deque()
        tags: list[str] = []
        try:
            for number, part in enumerate(parts(), 1):
                if len(running) >= window:
                    tags.append(running.popleft().result())
                running.append(workers.submit(self._send, name, upload_id, number, part, attempt))
            while running:
                tags.append(running.popleft().result())
            attempt(lambda: self._complete(name, upload_id, tags), f"completing the upload of {name}")
        except BaseException:
            settle(running)
            self._abort(name, upload_id)
            raise

    def delete(self, name: str) -> None:
        with self._translated(f"deleting {name}"):
            self._client.delete_object(Bucket=self._bucket, Key=name)

    def delete_if(self, name: str, tag: str) -> None:
        try:
            with contextlib.suppress(ObjectGone), self._translated(f"deleting {name}"):
                self._client.delete_object(Bucket=self._bucket, Key=name, IfMatch=tag)
        except ConflictingWrite:  # which some servers say of an absent object, too
            if self._exists(name):
                raise
        except InvalidValue:  # many servers know conditions for writes only
            super().delete_if(name, tag)

    def delete_many(self, names: Sequence[str]) -> None:
        for start in range(0, len(names), 1000):
            batch = names[start : start + 1000]
            objects = {"Objects": [{"Key": name} for name in batch], "Quiet": True}
            with self._translated(f"deleting {len(batch)} objects"):
                answer = self._client.delete_objects(Bucket=self._bucket, Delete=objects)
            for failure in answer.get("Errors", ()):
                code = failure.get("Code", "unknown")
                if code != "NoSuchKey":
                    raise self._error(f"deleting {failure.get('Key')}", code, 0, conditional=False)

    def list(self, prefix: str, after: str = "") -> Iterator[Listed]:
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": 1000}
        if after:
            arguments["StartAfter"] = after
        while True:
            with self._translated(f"listing {prefix}*"):
                page = self._client.list_objects_v2(**arguments)
            for item in page.get("Contents", ()):
                yield Listed(item["Key"], item["Size"], _seconds(item["LastModified"]))
            token = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not token:
                return
            arguments["ContinuationToken"] = token

    def abandon_uploads(self, prefix: str, *, before_s: float) -> int:
        abandoned = 0
        with self._translated(f"listing uploads of {prefix}*"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=prefix
            )
            old = [
                (upload["Key"], upload["UploadId"])
                for page in pages
                for upload in page.get("Uploads", ())
                if _seconds(upload["Initiated"]) < before_s
            ]
        for name, upload_id in old:
            abandoned += self._abort(name, upload_id)
        return abandoned

    def close(self) -> None:
        self._abort_leftovers()
        self._client.close()

    # Requests --------------------------------------------------------------------------------------

    def _get(self, name: str, start: int, length: int) -> Any:
        span = f"bytes={start}-{start + length - 1}"
        return self._client.get_object(Bucket=self._bucket, Key=name, Range=span)

    def _fill(self, body: Any, into: memoryview, name: str) -> None:
        done = 0
        while done < into.nbytes:
            count = body.readinto(into[done : done + _SLICE_BYTES])
            if count == 0:
                raise Unavailable(
                    f"{self.address}: the answer for {name} ended {into.nbytes - done} bytes early"
                )
            done += count

    def _begin(self, name: str) -> str:
        with self._translated(f"beginning the upload of {name}"):
            answer = self._client.create_multipart_upload(
                Bucket=self._bucket, Key=name, **self._put_arguments
            )
            return str(answer["UploadId"])

    def _send(self, name: str, upload_id: str, number: int, part: Part, attempt: Attempt) -> str:
        def send() -> str:
            with self._translated(f"uploading part {number} of {name}"):
                answer = self._client.upload_part(
                    Bucket=self._bucket,
                    Key=name,
                    UploadId=upload_id,
                    PartNumber=number,
                    Body=PartReader(part),
                )
                return str(answer["ETag"])

        return attempt(send, f"uploading part {number} of {name}")

    def _complete(self, name: str, upload_id: str, tags: Sequence[str]) -> None:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
        with self._translated(f"completing the upload of {name}"):
            try:
                self._client.complete_multipart_upload(
                    Bucket=self._bucket, Key=name, UploadId=upload_id, MultipartUpload={"Parts": parts}
                )
            except self._client.exceptions.ClientError as error:
                # A repeated request whose first reply was lost: the upload is no more, the object is there.
                if error.response.get("Error", {}).get("Code") != "NoSuchUpload" or not self._exists(name):
                    raise

    def _exists(self, name: str) -> bool:
        try:
            self._client.head_object(Bucket=self._bucket, Key=name)
        except self._client.exceptions.ClientError:
            return False
        return True

    def _abort(self, name: str, upload_id: str) -> bool:
        try:
            with self._translated(f"aborting the upload of {name}"):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=name, UploadId=upload_id)
        except ObjectGone:
            return True
        except MemoriesError as error:
            log.warning("%s; it will be tried again with the next upload, and by sweep()", error)
            with self._leftovers_lock:
                self._leftovers.append((name, upload_id))
            return False
        return True

    def _abort_leftovers(self) -> None:
        with self._leftovers_lock:
            leftovers, self._leftovers = self._leftovers, []
        for name, upload_id in leftovers:
            self._abort(name, upload_id)

    # Errors ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _translated(self, doing: str, *, conditional: bool = False) -> Iterator[None]:
        from botocore import exceptions as boto
        from urllib3.exceptions import HTTPError

        try:
            yield
        except boto.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise self._error(doing, code, status, conditional=conditional) from error
        except (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.TokenRetrievalError,
            boto.UnauthorizedSSOTokenError,
            boto.ProfileNotFound,
        ) as error:
            raise PermissionRefused(f"{doing} in {self.address}: no usable credentials: {error}") from error
        except (boto.ParamValidationError, boto.ValidationError, boto.NoRegionError) as error:
            raise InvalidValue(f"{doing} in {self.address}: {error}") from error
        except (boto.BotoCoreError, HTTPError, ConnectionError, TimeoutError) as error:
            # Connection refused, reset, timed out, cut short, or an answer that is no XML.
            raise Unavailable(f"{doing} in {self.address}: {error}") from error

    def _error(self, doing: str, code: str, status: int, *, conditional: bool) -> Exception:
        what = f"{doing} in {self.address} was answered {code or status} (HTTP {status})"
        if code == "NoSuchBucket":
            return BucketNotFound(f"{what}: create the bucket {self._bucket!r}, or correct its name")
        if code in _CONFLICT or status == 412 or (conditional and code == "NoSuchKey"):
            return ConflictingWrite(f"{what}: somebody else wrote it at the same time; nothing was changed")
        if code in ("NoSuchKey", "NoSuchUpload", "404", "NotFound"):
            return ObjectGone(what)
        if code == "InvalidRange" or status == 416:
            return CorruptData(f"{what}: the object is shorter than it should be")
        if code in _TRANSIENT or status in (429, 500, 502, 503, 504):
            return Unavailable(what)
        if code in _FULL or status == 507:
            return StorageFull(f"{what}: there is no room; nothing was changed")
        if code in _REFUSED or status in (401, 403):
            return PermissionRefused(f"{what}: check the credentials and what they may do in this bucket")
        if status == 501 and conditional:
            return InvalidValue(
                f"{what}: the server does not know conditional writes; conditional_writes=False does without "
                "them, and then only one process may write"
            )
        return InvalidValue(f"{what}: the request is not one that this server takes")


def _whole_size(answer: Mapping[str, Any]) -> int:
    """The object's size, from an answer to a request for a range."""
    total = str(answer.get("ContentRange", "")).rpartition("/")[2]
    return int(total) if total.isdigit() else int(answer["ContentLength"])


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
