"""Keys as object names: any string becomes a short, flat name of harmless characters, and comes back.

A name is the key's UTF-8 with everything but letters, digits, ``-``, ``_`` and inner dots as ``=XX``.
Names keep the order of prefixes: if a key starts with a prefix, so does its name with that of the
prefix. A name that would be too long for a file system or a provider is cut and ended by ``~`` and the
key's SHA-256; such a key is told by the record in the object.
"""

from __future__ import annotations

import hashlib
import re

LONGEST_NAME = 190
_CUT = 120

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.-]")
_NAME = re.compile(r"(?:[A-Za-z0-9_.-]|=[0-9A-F]{2})+")


def encode(key: str) -> str:
    """The key, or a prefix of keys, in full, however long that gets."""
    raw = key.encode("utf-8", "surrogatepass")
    text = _UNSAFE.sub(lambda match: b"=%02X" % match.group()[0], raw).decode("ascii")
    # No name is "." or "..", and none is hidden in a local folder.
    return "=2E" + text[1:] if text.startswith(".") else text


def object_name(key: str) -> str:
    """The name for a key: one name a key, and no two keys share one."""
    text = encode(key)
    if len(text) <= LONGEST_NAME:
        return text
    return f"{text[:_CUT]}~{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def key_of(name: str) -> str | None:
    """The key of a name, or None for one that was cut (ask its record) or is no name of ours."""
    if not _NAME.fullmatch(name):
        return None
    raw = re.sub(rb"=([0-9A-F]{2})", lambda match: bytes([int(match.group(1), 16)]), name.encode("ascii"))
    try:
        key = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None
    return key if encode(key) == name else None


def is_cut(name: str) -> bool:
    """Whether the name stands for a key too long to be spelled out."""
    return re.fullmatch(r"[A-Za-z0-9_.=-]+~[0-9a-f]{64}", name) is not None


def listing_prefix(prefix: str) -> str:
    """What names of keys with this prefix start with; others may as well, so look at each key."""
    return encode(prefix)[:_CUT]
