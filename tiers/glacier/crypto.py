"""Encryption on our side: AES-256-GCM with a key of its own for every object, and ids for rotation.

From a master key and a random 32-byte salt HKDF-SHA256 makes the key of one object, so nonces can be
plain block numbers without ever repeating under a key, and no number of objects wears the master key
out. A block is sealed together with the object's name and its own number: blocks cannot be moved within
an object, between objects or between keys without being noticed. What this cannot notice is an object
that is replaced, whole, by an older version of itself.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ...errors import CorruptData, InvalidType, InvalidValue, PermissionRefused

SALT_BYTES = 32
TAG_BYTES = 16
KEY_BYTES = 32


class BlockCipher:
    """Seals and opens the numbered blocks of one object. Thread-safe."""

    def __init__(self, key: bytes, context: bytes) -> None:
        self._gcm = AESGCM(key)
        self._context = context

    def seal(self, number: int, plain: bytes | memoryview) -> bytes:
        """The block encrypted, its tag at the end. A number must be used for one content only."""
        return self._gcm.encrypt(number.to_bytes(12, "big"), plain, self._context)

    def open(self, number: int, sealed: bytes | memoryview) -> bytes:
        """The inverse. Raises `CorruptData` for anything that `seal` did not make at this place."""
        try:
            return self._gcm.decrypt(number.to_bytes(12, "big"), sealed, self._context)
        except (InvalidTag, ValueError) as error:
            raise CorruptData(
                f"encrypted block {number} does not authenticate: it was altered, moved, or sealed with "
                "another key under the same key id"
            ) from error


class KeyRing:
    """Master keys by id, and which of them new objects get. Its repr shows ids only."""

    def __init__(self, keys: Mapping[str, bytes | str], write_id: str | None = None) -> None:
        if not keys:
            raise InvalidValue("no encryption key was given")
        if write_id is None and len(keys) > 1:
            raise InvalidValue(
                f"several encryption keys ({', '.join(sorted(keys))}): say with encryption_key_id which one "
                "encrypts new objects"
            )
        self.write_id = next(iter(keys)) if write_id is None else write_id
        if self.write_id not in keys:
            raise InvalidValue(f"encryption_key_id={self.write_id!r} is none of {', '.join(sorted(keys))}")
        self._keys = {key_id: _key_bytes(key_id, key) for key_id, key in keys.items()}

    def __repr__(self) -> str:
        return f"KeyRing(ids={sorted(self._keys)}, write_id={self.write_id!r})"

    def __reduce__(self) -> str | tuple[object, ...]:
        return KeyRing, (dict(self._keys), self.write_id)

    def cipher(self, key_id: str, salt: bytes, context: bytes) -> BlockCipher:
        """The cipher of the object with this salt. Raises `PermissionRefused` for an id we do not have."""
        master = self._keys.get(key_id)
        if master is None:
            known = ", ".join(sorted(self._keys))
            raise PermissionRefused(
                f"the object is encrypted with key id {key_id!r}, and only {known} is configured: "
                "add the old key to encryption_keys"
            )
        derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=b"memories/glacier/1")
        return BlockCipher(derive.derive(master), context)


def new_salt() -> bytes:
    """A salt for one object."""
    return secrets.token_bytes(SALT_BYTES)


def _key_bytes(key_id: str, key: bytes | str) -> bytes:
    hint = (
        f"encryption key {key_id!r} must be {KEY_BYTES} bytes, or those in hexadecimal or base64; "
        "make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
    )
    raw: bytes
    if isinstance(key, str):
        text = key.strip()
        try:
            raw = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise InvalidValue(hint) from None  # the cause would quote the key
    elif isinstance(key, bytes | bytearray | memoryview):
        raw = bytes(key)
    else:
        raise InvalidType(f"{hint}; got {type(key).__name__}")
    if len(raw) != KEY_BYTES:
        raise InvalidValue(f"{hint}; got {len(raw)} bytes")
    return raw
