"""A process of its own that is connected to Ray and answers the dashboard through a pipe.

Ray ends a process that loses its cluster, and a driver that is on a killed node; the dashboard has to
outlive both, to show what was known last. So Ray is never in the dashboard's own process.

Run as ``python -m memories.dashboard.feeder``: requests are pickled tuples on standard input, answers pickled
tuples on standard output, one for one. Ends when its input does.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import sys
from collections.abc import Mapping
from itertools import islice
from typing import Any, BinaryIO

from ..actors.cluster import Cluster, connect
from ..actors.memory_manager import INTERNAL_PREFIX
from ..errors import MemoriesError, NotRunning, VersionMismatch
from .source import KeyList, KeyRow

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
STATUS_TIMEOUT_S = 5.0
QUERY_TIMEOUT_S = 10.0
SHOWN_FIELDS = 8
SHOWN_CHARACTERS = 60
"""Of one value of metadata: a key may have a page of text there."""


class Feeder:
    """Holds the connection, and makes it anew when it has broken."""

    def __init__(self, address: str | None, name: str, namespace: str) -> None:
        self._address, self._name, self._namespace = address, name, namespace
        self._cluster: Cluster | None = None

    def answer(self, request: tuple[Any, ...]) -> tuple[str, Any]:
        """("ok", value), ("nothing", why) where no cluster runs, ("error", why)."""
        what, *arguments = request
        try:
            cluster = self._connected()
            if what == "snapshot":
                return "ok", cluster.status(timeout_s=STATUS_TIMEOUT_S)
            return "ok", list_keys(cluster, *arguments)
        except (NotRunning, VersionMismatch) as error:
            self._disconnect()
            return "nothing", str(error)
        except MemoriesError as error:
            return "error", str(error)
        except Exception as error:
            log.exception("the connection to the cluster broke")
            self._disconnect()
            return "error", f"{type(error).__name__}: {error}"

    def _connected(self) -> Cluster:
        if self._cluster is None:
            self._cluster = connect(
                self._address,
                name=self._name,
                namespace=self._namespace,
                start=False,
                timeout_s=CONNECT_TIMEOUT_S,
            )
        return self._cluster

    def _disconnect(self) -> None:
        import ray

        self._cluster = None
        if ray.is_initialized():
            ray.shutdown()


def list_keys(cluster: Cluster, prefix: str, metadata_filter: Mapping[str, Any], limit: int) -> KeyList:
    """The first keys that match, with where they are."""
    client = cluster.client(timeout_s=QUERY_TIMEOUT_S)
    try:
        if metadata_filter:
            found = sorted(
                key for key in client.query(metadata_filter, all_known=False) if key.startswith(prefix)
            )
        else:
            found = list(client.keys(prefix, all_known=False))
        found = [key for key in found if not key.startswith(INTERNAL_PREFIX)]
        shown = found[:limit]
        located = client.locate_many(shown, touch=False) if shown else ()
        said = client.metadata_of(shown, located)
        rows = []
        for key, where in zip(shown, located, strict=True):
            nodes = {member.partition("/")[0] for member, _ in where.members}
            tier = client.tier_of(where.members[0][0]) if where.members else "none"
            metadata = said.get(key, {})
            fields = tuple((name, _in_short(value)) for name, value in islice(metadata.items(), SHOWN_FIELDS))
            rows.append(
                KeyRow(key, tier, where.nbytes, len(nodes), fields, max(0, len(metadata) - len(fields)))
            )
        return KeyList(tuple(rows), len(found))
    finally:
        client.close()


def _in_short(value: Any) -> str:
    """A value of metadata as JSON, cut where it is long."""
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return written if len(written) <= SHOWN_CHARACTERS else written[: SHOWN_CHARACTERS - 1] + "…"


def main() -> None:
    answers = _take_standard_output()
    address, name, namespace = sys.argv[1:4]
    feeder = Feeder(address or None, name, namespace)
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(feeder.answer(request), answers)
        answers.flush()


def _take_standard_output() -> BinaryIO:
    """Standard output for the answers alone: what else is printed, by Ray too, goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
