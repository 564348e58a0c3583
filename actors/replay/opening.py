"""Get-or-create of a replay buffer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...errors import InvalidValue
from ...replay.schema import Schema
from ..calls import Deadline
from .handle import Replay
from .routing import Router
from .spec import ReplaySpec


def open_replay(
    cluster: str,
    namespace: str,
    name: str,
    schema: Schema | None,
    arguments: Mapping[str, Any],
    allow_degraded: bool,
    timeout_s: float,
) -> Replay:
    """The handle of a buffer, once all its shards are there. See `Cluster.replay`."""
    known = {field.name for field in dataclasses.fields(ReplaySpec)} - {"name", "schema"}
    unknown = sorted(set(arguments) - known)
    if unknown:
        raise InvalidValue(
            f"a replay buffer has no {unknown[0]!r}; it has schema, {', '.join(sorted(known))}"
        )
    deadline = Deadline.after(timeout_s, f"opening replay buffer {name!r}")
    router = Router(cluster, namespace, name)
    if schema is None:
        spec: ReplaySpec = router.ask_directory(deadline, "find", name)
    else:
        wanted = ReplaySpec(name=name, schema=schema, **arguments)
        spec = router.ask_directory(deadline, "open", wanted, allow_degraded)
    given = dict(arguments) if schema is None else {**arguments, "schema": schema}
    different = sorted(key for key, value in given.items() if getattr(spec, key) != value)
    if different:
        key = different[0]
        raise InvalidValue(
            f"replay buffer {name!r} has {key}={getattr(spec, key)!r}, not {given[key]!r}; choose another "
            "name, or the same arguments"
        )
    router.ask_directory(deadline, "wait_ready", name, timeout_s)
    return Replay(cluster, namespace, spec)
