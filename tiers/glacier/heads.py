"""`Heads`: the head objects, one a key: found, written by compare-and-set, deleted."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ConflictingWrite, CorruptData, NewerFormat, PermissionRefused
from .crypto import KeyRing
from .envelope import UNREADABLE, Envelope, envelope_bytes, read_envelope
from .objects import Condition, Fetched, ObjectGone, ObjectStore
from .retry import Retry

HEAD_BYTES = 16 * 1024
"""What is read of a head object to learn its record: enough for nearly all in one request."""


@dataclass(frozen=True, slots=True)
class Head:
    """A head object as it was found: `payload` is what was read of the bytes behind the envelope."""

    envelope: Envelope
    payload: memoryview
    tag: str
    nbytes: int

    @property
    def body_id(self) -> str:
        """The id of the body object; empty where there is none."""
        return self.envelope.body.body_id

    @property
    def body_bytes(self) -> int:
        """Bytes of the body object; 0 where there is none."""
        return self.envelope.body.table.stored_bytes if self.body_id else 0

    @property
    def is_whole(self) -> bool:
        """Whether `payload` is all that lies behind the envelope."""
        return self.envelope.nbytes + self.payload.nbytes == self.nbytes


class Heads:
    """The head objects in one folder of a bucket, by the names of their keys. Thread-safe."""

    def __init__(
        self,
        store: ObjectStore,
        folder: str,
        retry: Retry,
        keys: KeyRing | None,
        *,
        conditional_writes: bool,
        read_unencrypted: bool,
    ) -> None:
        self.folder = folder
        self._store = store
        self._retry = retry
        self._keys = keys
        self._conditional_writes = conditional_writes
        self._accept_clear = keys is None or read_unencrypted

    def find(self, name: str, length: int = HEAD_BYTES, *, forgiving: bool = False) -> Head | None:
        """The head object, its first bytes at least up to the end of the envelope; None where none is.

        Raises `CorruptData`, and `PermissionRefused` where a key is missing or nothing is sealed.
        `forgiving` is for those who replace or remove it: a damaged head becomes `UNREADABLE`, and one in
        the clear is accepted.
        """
        path = self.folder + name
        try:
            fetched = self._read(path, length)
            size = _envelope_bytes_or_zero(fetched.data)
            if fetched.data.nbytes < size <= fetched.size:
                fetched = self._read(path, size)
        except ObjectGone:
            return None
        accept_clear = forgiving or self._accept_clear
        try:
            envelope = read_envelope(fetched.data, name, self._keys, read_unencrypted=accept_clear)
        except CorruptData as error:
            if forgiving and not isinstance(error, NewerFormat):
                return Head(UNREADABLE, memoryview(b""), fetched.tag, fetched.size)
            raise type(error)(f"{path} in {self._store.address}: {error}") from error
        except PermissionRefused as error:
            raise PermissionRefused(f"{path} in {self._store.address}: {error}") from error
        return Head(envelope, fetched.data[envelope.nbytes :], fetched.tag, fetched.size)

    def find_whole(self, name: str) -> Head | None:
        """The head object with its whole payload."""
        head = self.find(name)
        while head is not None and not head.is_whole:
            again = self.find(name, head.nbytes)
            if again is not None and again.nbytes == head.nbytes:
                return again  # whole, or shorter than it says: its blocks will not verify
            head = again
        return head

    def write(self, name: str, envelope: Envelope, payload: bytes, old: Head | None) -> int:
        """Put the head in the place of the one that was found (or of none); its bytes.

        Raises `ConflictingWrite` if another one is there by now. `Unavailable` and `DeadlineExceeded`
        leave open whether it was written.
        """
        data = envelope.pack(name, self._keys) + payload
        condition = Condition(None if old is None else old.tag) if self._conditional_writes else None
        attempts = 0

        def put() -> None:
            nonlocal attempts
            attempts += 1
            try:
                self._store.put(self.folder + name, [memoryview(data)], condition)
            except ConflictingWrite:
                # An earlier attempt whose reply was lost may have been the one that got in our way.
                if attempts == 1 or not self._holds(name, data):
                    raise

        self._retry.call(put, f"writing the head of {envelope.record.key!r:.100}")
        return len(data)

    def delete(self, name: str, found: Head | None = None) -> None:
        """Remove the head object, or only the one that was found; fine if there is none.

        Raises `ConflictingWrite` if another one than was found is there by now.
        """
        path = self.folder + name
        tag = None if found is None or not self._conditional_writes else found.tag

        def delete() -> None:
            if tag is None:
                self._store.delete(path)
            else:
                self._store.delete_if(path, tag)

        self._retry.call(delete, f"deleting {path}")

    def _read(self, path: str, length: int) -> Fetched:
        return self._retry.call(lambda: self._store.read(path, length), f"reading {path}")

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            # One byte more than there should be: nothing is left to be asked about the size.
            return bytes(self._store.read(self.folder + name, len(data) + 1).data) == data
        except ObjectGone:
            return False


def _envelope_bytes_or_zero(start: memoryview) -> int:
    try:
        return envelope_bytes(start)
    except CorruptData:
        return 0
