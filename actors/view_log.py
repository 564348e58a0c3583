"""`ViewLog`: the cluster's membership, as an append-only log in Ray's internal key-value store.

An entry is written with ``overwrite=False``, so of two coordinators that want to write the same entry
one finds that it lost. Entries are JSON: what a newer version writes is refused, not misread.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)

from ..tiers.formats import check_format
from .core.model import MemberInfo, View

NAMESPACE = b"memories"
FORMAT = 1
KEPT_ENTRIES = 16


class ViewLog:
    """The log of one cluster. All calls block for one round trip to Ray's GCS; thread-safe.

    A temporary cluster is told from the others of its name by its `instance`: it must not wait for their
    disks, which nobody takes up again.
    """

    def __init__(self, cluster: str, instance: str = "") -> None:
        self._prefix = "".join(f"{part}/" for part in (cluster, instance, "view") if part).encode()

    def newest(self) -> View | None:
        """The entry with the highest number, or None where there is none."""
        keys = _internal_kv_list(self._prefix, namespace=NAMESPACE)
        return self.entry(max(self._number(key) for key in keys)) if keys else None

    def entry(self, number: int) -> View | None:
        """One entry, or None where it is not written (or not kept) any more."""
        stored = _internal_kv_get(self._key(number), namespace=NAMESPACE)
        return None if stored is None else _unpack(stored)

    def append(self, view: View) -> bool:
        """Write entry `view.number` unless somebody has; whether it is ours.

        A repeated append of the same view is ours as well: a lost answer must not look like a defeat.
        """
        exists = _internal_kv_put(self._key(view.number), _pack(view), overwrite=False, namespace=NAMESPACE)
        if exists and self.entry(view.number) != view:
            return False
        _internal_kv_del(self._key(view.number - KEPT_ENTRIES), namespace=NAMESPACE)
        return True

    def erase(self) -> None:
        """Forget the whole log: the cluster is being deleted."""
        for key in _internal_kv_list(self._prefix, namespace=NAMESPACE):
            _internal_kv_del(key, namespace=NAMESPACE)

    def _key(self, number: int) -> bytes:
        return self._prefix + f"{number:020d}".encode()

    def _number(self, key: bytes) -> int:
        return int(key.removeprefix(self._prefix))


def _pack(view: View) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(view)}).encode()


def _unpack(stored: bytes) -> View:
    fields = json.loads(stored)
    check_format(fields.pop("format"), FORMAT, "the membership log")
    members = tuple(MemberInfo(**member) for member in fields.pop("members"))
    away, gone, unverified = (tuple(fields.pop(name, ())) for name in ("away", "gone", "unverified"))
    return View(members=members, away=away, gone=gone, unverified=unverified, **fields)
