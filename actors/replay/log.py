"""`ReplayLog`: specs and layouts of a cluster's replay buffers, in Ray's internal key-value store."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ray.experimental.internal_kv import (
    _internal_kv_del,
    _internal_kv_get,
    _internal_kv_list,
    _internal_kv_put,
)

from ...tiers.formats import check_format
from ..view_log import NAMESPACE
from .core.model import Layout, Replica, ShardView
from .spec import ReplaySpec

FORMAT = 1
KEPT_ENTRIES = 16


class ReplayLog:
    """All calls block for one or two round trips to Ray's GCS; thread-safe.

    A layout is an entry of a log and is written with ``overwrite=False``: of two coordinators that want to
    write the same number one finds that it lost.
    """

    def __init__(self, cluster: str) -> None:
        self._specs = f"{cluster}/replay/spec/"
        self._layouts = f"{cluster}/replay/layout/"

    def names(self) -> list[str]:
        """The buffers that there are."""
        keys = _internal_kv_list(self._specs.encode(), namespace=NAMESPACE)
        return sorted(key.decode().removeprefix(self._specs) for key in keys)

    def spec(self, name: str) -> ReplaySpec | None:
        stored = _internal_kv_get(f"{self._specs}{name}".encode(), namespace=NAMESPACE)
        return None if stored is None else ReplaySpec.from_json(stored)

    def add_spec(self, spec: ReplaySpec) -> ReplaySpec:
        """Record a buffer unless there is one of its name; the one that is recorded."""
        key = f"{self._specs}{spec.name}".encode()
        _internal_kv_put(key, spec.to_json(), overwrite=False, namespace=NAMESPACE)
        recorded = self.spec(spec.name)
        assert recorded is not None
        return recorded

    def newest(self, name: str) -> Layout | None:
        prefix = self._prefix(name)
        keys = _internal_kv_list(prefix.encode(), namespace=NAMESPACE)
        if not keys:
            return None
        return self._entry(max(keys))

    def append(self, name: str, layout: Layout) -> bool:
        """Write a layout unless somebody has written one of that number; whether it is ours."""
        key = self._key(name, layout.number)
        exists = _internal_kv_put(key, _pack(layout), overwrite=False, namespace=NAMESPACE)
        if exists and self._entry(key) != layout:
            return False
        _internal_kv_del(self._key(name, layout.number - KEPT_ENTRIES), namespace=NAMESPACE)
        return True

    def erase(self, name: str) -> None:
        """Forget a buffer."""
        for key in _internal_kv_list(self._prefix(name).encode(), namespace=NAMESPACE):
            _internal_kv_del(key, namespace=NAMESPACE)
        _internal_kv_del(f"{self._specs}{name}".encode(), namespace=NAMESPACE)

    def _prefix(self, name: str) -> str:
        return f"{self._layouts}{name}/"

    def _key(self, name: str, number: int) -> bytes:
        return f"{self._prefix(name)}{number:020d}".encode()

    def _entry(self, key: bytes) -> Layout | None:
        stored = _internal_kv_get(key, namespace=NAMESPACE)
        return None if stored is None else _unpack(stored)


def _pack(layout: Layout) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(layout)}).encode()


def _unpack(stored: bytes) -> Layout:
    fields = json.loads(stored)
    check_format(fields.pop("format"), FORMAT, "the layout of a replay buffer")
    shards = tuple(_unpack_view(view) for view in fields.pop("shards"))
    routes = tuple((old, new) for old, new in fields.pop("routes"))
    return Layout(shards=shards, routes=routes, draining=tuple(fields.pop("draining")), **fields)


def _unpack_view(fields: dict[str, Any]) -> ShardView:
    replicas = {
        role: None if fields[role] is None else Replica(**fields[role])
        for role in ("primary", "backup", "candidate")
    }
    return ShardView(fields["shard"], fields["number"], **replicas)
