"""Logs of our actors: one line an entry, with the key, version and request that it is about.

``MEMORIES_LOG=json`` makes every line one JSON object; ``MEMORIES_LOG_LEVEL=DEBUG`` logs every request.
Both are read where the actors start: in the environment of the nodes, or in `ClusterConfig`. Ray keeps the
lines in its session folder, and `ray logs` and its dashboard show them. Only warnings are written unless
more is asked for, because Ray also shows them to the driver that started the cluster. Values are never
logged.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .core import commands as cmd
from .core import events as ev
from .core.model import Outcome

FORMAT_VARIABLE = "MEMORIES_LOG"
LEVEL_VARIABLE = "MEMORIES_LOG_LEVEL"
FORMATS = ("text", "json")
ROOT = "memories"
FIELDS = ("member", "key", "keys", "version", "request", "outcome")
"""What an entry may carry as `extra`, in the order in which it is written."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What `ClusterConfig` says of logs, for actors that are started without one."""

    form: str | None = None
    level: str | None = None


class _TextFormat(logging.Formatter):
    def __init__(self, fixed: Mapping[str, str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._fixed = fixed

    def format(self, record: logging.LogRecord) -> str:
        first, newline, trace = super().format(record).partition("\n")
        pairs = {**_fields(record), **self._fixed}
        return first + "".join(f" {name}={_quoted(value)}" for name, value in pairs.items()) + newline + trace


class _JsonFormat(logging.Formatter):
    def __init__(self, fixed: Mapping[str, str]) -> None:
        super().__init__()
        self._fixed = fixed

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
            **self._fixed,
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def set_up(cluster: str, actor: str, form: str | None = None, level: str | None = None) -> None:
    """Send this actor's entries to standard error, which Ray keeps. Again is fine: the last one counts."""
    chosen = form or os.environ.get(FORMAT_VARIABLE) or "text"
    fixed = {"cluster": cluster, "actor": actor}
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormat(fixed) if chosen == "json" else _TextFormat(fixed))
    root = logging.getLogger(ROOT)
    root.handlers[:] = [handler]
    root.propagate = False
    name = (level or os.environ.get(LEVEL_VARIABLE) or "WARNING").upper()
    root.setLevel(name if name in logging.getLevelNamesMapping() else "WARNING")


def note_request(event: ev.ClientEvent, reply: cmd.Reply) -> None:
    """Log a request and its answer: as a warning where some key failed, else for debugging only."""
    failed = _first_failure(reply)
    level = logging.DEBUG if failed is None else logging.WARNING
    if not log.isEnabledFor(level):
        return
    keys: Sequence[str] = getattr(event, "keys", ())
    row, outcome = failed if failed is not None else (0, Outcome.OK)
    log.log(
        level,
        type(event).__name__,
        extra={
            "key": keys[row] if keys else None,
            "keys": len(keys),
            "version": version_text(reply.version),
            "request": f"{event.request[0]}/{event.request[1]}",
            "outcome": outcome.name.lower(),
        },
    )


def note_call(what: str, *, key: str, version: object, request: str, outcome: str, failed: bool) -> None:
    """Log a call of a replay shard or a network: as a warning where it failed, else for debugging only."""
    level = logging.WARNING if failed else logging.DEBUG
    if log.isEnabledFor(level):
        about = {"key": key, "version": str(version), "request": request, "outcome": outcome}
        log.log(level, what, extra=about)


def version_text(version: Sequence[int]) -> str:
    """A version as people write it: epoch, dot, sequence."""
    return f"{version[0]}.{version[1]}"


def _first_failure(reply: cmd.Reply) -> tuple[int, Outcome] | None:
    if not reply.outcomes:
        return None
    fine = (Outcome.OK, Outcome.MISSING)
    return next(((row, o) for row, o in enumerate(reply.outcomes) if o not in fine), None)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: getattr(record, name, None) for name in FIELDS}
    return {name: value for name, value in found.items() if value is not None}


def _quoted(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(' "=') else json.dumps(text)
