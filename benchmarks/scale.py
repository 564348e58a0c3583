"""The core without Ray: one coordinator for 1,000 simulated nodes and up to 10,000,000 keys.

    python -m benchmarks.scale [--quick] [--json FILE] [--keys N ...] [--plots FOLDER]

The members are simulated: they report inventories and carry every command out at once, so all that is
measured is the coordinator's own work, on one thread. Every node has a warm and a cold member; every key
has two copies, in the warm members of two nodes. Each size runs in a process of its own:

- rebuild: the catalog from the inventories of all members;
- memory: growth of the resident set by the catalog, over the keys;
- decisions: requests to store, find and delete that are answered in a second, and the messages that a
  stored key costs (requests, commands, answers, replies);
- loss of ten nodes: seconds of work until the first copies are ordered, and until every key has its two
  copies again, and the longest that a single event took: for so long nobody else is answered.

A size that does not fit into the memory that is there, or into its time, is left out, and that is said.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from benchmarks.bars import Curve, Report, options_of
from benchmarks.page import draw_curve
from benchmarks.scale_cluster import BATCH, NEIGHBOURS, VALUE_BYTES, Cluster
from memories.actors.core import commands as out
from memories.actors.core import events as ev
from memories.actors.core.model import RequestId, StoreOptions

NODES = 1000
LOST = 10
KEYS = (100_000, 1_000_000, 3_000_000, 10_000_000)
QUICK_KEYS = (20_000, 40_000)
SIZE_LIMIT_S = 270.0
MOST_REBUILD_S = 12.0
"""For 1,000,000 keys; the inventories' way to the coordinator has to fit into it as well."""
MOST_EVENT_S = 1.0
"""For so long at most one event may keep everybody else waiting, with 10,000,000 keys."""
MOST_TICKS = 100_000
SPARE_BYTES = 2 << 30


@dataclass(frozen=True)
class Found:
    """What one size showed."""

    keys: int
    nodes: int
    bytes_a_key: float
    rebuild_s: float
    stores_per_s: float
    batched_keys_per_s: float
    finds_per_s: float
    deletes_per_s: float
    messages_a_key: float
    messages_a_batched_key: float
    first_orders_s: float
    replan_s: float
    copies: int
    transfers: int
    slowest_event_s: float

    @property
    def ms_a_copy(self) -> float:
        """Work for each key that lost a copy."""
        return 1e3 * self.replan_s / max(1, self.copies)


def measure(keys: int, nodes: int) -> Found:
    """One size, in this process."""
    if nodes < LOST * (NEIGHBOURS + 1):
        raise ValueError(f"{nodes} nodes are too few: keys would lose both copies")
    gc.collect()
    gc.disable()  # as the coordinator's process does while it builds; then what is there is frozen
    cluster = Cluster(nodes, keys)
    before = psutil.Process().memory_info().rss
    cluster.tell(ev.Start(None, cluster.members))
    rebuild_s = cluster.working_s
    gc.freeze()
    gc.enable()
    grown = psutil.Process().memory_info().rss - before
    stored = len(cluster.core.catalog.entries)
    if stored != nodes * cluster.keys_a_node:
        raise AssertionError(f"{stored} keys are known, {nodes * cluster.keys_a_node} were reported")

    requests = iter(range(1, 1 << 40))

    def rate(count: int, make: Callable[[int, RequestId], ev.Event]) -> tuple[float, float]:
        """Requests a second, and messages a request."""
        worked_s, messages, replies = cluster.working_s, cluster.messages, cluster.replies
        for number in range(count):
            cluster.tell(make(number, RequestId("client", next(requests))))
        if cluster.replies - replies != count:
            raise AssertionError(f"{cluster.replies - replies} of {count} requests were answered")
        return count / (cluster.working_s - worked_s), (cluster.messages - messages) / count

    def options(number: int) -> StoreOptions:
        return StoreOptions(node=f"n{number * 7 % nodes:04}", replicas=2)

    singles = max(200, min(2_000, keys // 100))
    stores_per_s, messages_a_key = rate(
        singles,
        lambda n, request: ev.StoreMany(request, (f"new/{n:08}",), (VALUE_BYTES,), b"", options(n)),
    )
    batched_per_s, messages_a_batch = rate(
        singles // 10,
        lambda n, request: ev.StoreMany(
            request, tuple(f"batch/{n}/{k}" for k in range(BATCH)), (VALUE_BYTES,) * BATCH, b"", options(n)
        ),
    )
    finds_per_s, _ = rate(
        singles, lambda n, request: ev.LocateMany(request, (f"features/{n * 37 % stored:08}",), "n0001")
    )
    deletes_per_s, _ = rate(singles, lambda n, request: ev.DeleteMany(request, (f"new/{n:08}",)))

    cluster.lost = {
        f"n{number * nodes // LOST:04}/{tier}" for number in range(LOST) for tier in ("warm", "cold")
    }
    worked_s, copied, transfers, cluster.slowest_s = cluster.working_s, cluster.copies, cluster.transfers, 0.0
    waiting: list[out.Command] = []
    for member in sorted(cluster.lost):
        waiting += cluster.work(ev.MemberLost(member, 1))
    first_orders_s = None
    queue = deque(waiting)
    while queue:
        command = queue.popleft()
        queue.extend(cluster._answer(command))
        if first_orders_s is None and isinstance(command, out.CopyMany):
            first_orders_s = cluster.working_s - worked_s
    for _ in range(MOST_TICKS):
        if cluster.core.transfers.idle:
            break
        cluster.tell(ev.Tick())
    for entry in cluster.core.catalog.entries.values():
        if entry.kind == 0 and (len(entry.holders) < 2 or not cluster.lost.isdisjoint(entry.holders)):
            raise AssertionError("a key has not got its two copies again")
    return Found(
        keys=stored,
        nodes=nodes,
        bytes_a_key=grown / stored,
        rebuild_s=rebuild_s,
        stores_per_s=stores_per_s,
        batched_keys_per_s=batched_per_s * BATCH,
        finds_per_s=finds_per_s,
        deletes_per_s=deletes_per_s,
        messages_a_key=messages_a_key,
        messages_a_batched_key=messages_a_batch / BATCH,
        first_orders_s=first_orders_s or 0.0,
        replan_s=cluster.working_s - worked_s,
        copies=cluster.copies - copied,
        transfers=cluster.transfers - transfers,
        slowest_event_s=cluster.slowest_s,
    )


def apart(keys: int, nodes: int, limit_s: float) -> Found | str:
    """`measure` in a fresh process, or why it was not to be had."""
    command = [sys.executable, "-m", "benchmarks.scale", "--one", json.dumps([keys, nodes])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return f"not finished in {limit_s:.0f} s"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"ended with code {done.returncode}: {last}"
    return Found(**json.loads(done.stdout.splitlines()[-1]))


def run(
    report: Report, sizes: Sequence[int], node_counts: Sequence[int], nodes: int, limit_s: float
) -> dict[str, Curve]:
    """Every size, and what to draw of them, by name."""
    by_keys: list[Found] = []
    for keys in sizes:
        if by_keys:
            last = by_keys[-1]
            need = keys * last.bytes_a_key * 1.3 + SPARE_BYTES
            free = psutil.virtual_memory().available
            if need > free:
                print(f"{keys:,} keys: left out, they need {need / 1e9:.1f} GB and {free / 1e9:.1f} are free")
                continue
        found = apart(keys, nodes, limit_s)
        if isinstance(found, str):
            print(f"{keys:,} keys: left out, {found}")
            continue
        by_keys.append(found)
        tell(report, found)
    by_nodes = []
    for count in node_counts:
        found = apart(sizes[0], count, limit_s)
        if isinstance(found, str):
            print(f"{count} nodes: left out, {found}")
            continue
        by_nodes.append(found)
    return curves_of(by_keys, by_nodes) if by_keys else {}


def tell(report: Report, found: Found) -> None:
    size = f"{found.keys:,} keys, {found.nodes:,} nodes"
    report.figure(f"memory a key, {size}", found.bytes_a_key, "B")
    rebuild = f"rebuild from inventories, {size}"
    a_key = f"{1e6 * found.rebuild_s / found.keys:.2f} us a key"
    if found.keys == 1_000_000:
        report.at_most(rebuild, MOST_REBUILD_S, found.rebuild_s, "s", detail=a_key)
    else:
        report.figure(rebuild, found.rebuild_s, "s", detail=a_key)
    report.figure(f"stores of one key, {size}", found.stores_per_s, "/s")
    report.figure(f"keys stored in batches of {BATCH}, {size}", found.batched_keys_per_s, "/s")
    report.figure(f"finds of one key, {size}", found.finds_per_s, "/s")
    report.figure(f"deletes of one key, {size}", found.deletes_per_s, "/s")
    report.figure(
        f"messages a key stored, {size}",
        found.messages_a_key,
        "",
        detail=f"{found.messages_a_batched_key:.2f} in batches of {BATCH}",
    )
    lost = f"loss of {LOST} nodes"
    report.figure(f"{lost}, until copies are ordered, {size}", found.first_orders_s, "s")
    report.figure(
        f"{lost}, until all is planned again, {size}",
        found.replan_s,
        "s",
        detail=f"{found.copies:,} copies in {found.transfers:,} transfers, {found.ms_a_copy:.3f} ms a copy",
    )
    slowest = f"{lost}, the slowest single event, {size}"
    if found.keys == KEYS[-1]:
        report.at_most(slowest, MOST_EVENT_S, found.slowest_event_s, "s")
    else:
        report.figure(slowest, found.slowest_event_s, "s")


def curves_of(by_keys: Sequence[Found], by_nodes: Sequence[Found]) -> dict[str, Curve]:
    """How everything grows."""

    def line(name: str, found: Sequence[Found], over: str) -> list[tuple[float, float]]:
        return [(getattr(one, over), getattr(one, name)) for one in found]

    memory = [(one.keys, one.keys * one.bytes_a_key / 1e9) for one in by_keys]
    curves = {
        "memory": Curve(
            "Memory of the catalog", "keys", "GB", {"resident": [*memory]}, log_x=True, log_y=True
        )
    }
    times = {
        "rebuild from inventories": "rebuild_s",
        f"loss of {LOST} nodes, all planned again": "replan_s",
        "the slowest single event of that": "slowest_event_s",
    }
    rates = {
        "stores of one key": "stores_per_s",
        f"keys in batches of {BATCH}": "batched_keys_per_s",
        "finds": "finds_per_s",
        "deletes": "deletes_per_s",
    }
    messages = {"one by one": "messages_a_key", f"in batches of {BATCH}": "messages_a_batched_key"}
    for over, found, place in (
        ("keys", by_keys, f"{by_keys[0].nodes:,} nodes"),
        ("nodes", by_nodes, f"{by_keys[0].keys:,} keys"),
    ):
        for name, title, label, fields in (
            ("decisions", "Decisions", "a second", rates),
            ("times", "Work after a loss", "seconds", times),
            ("messages", "Messages", "a key that is stored", messages),
        ):
            if found:
                lines = {which: line(field, found, over) for which, field in fields.items()}
                curves[f"{name}-by-{over}"] = Curve(
                    f"{title}, {place}", over, label, lines, log_x=True, log_y=True
                )
    return curves


def main() -> int:
    parser = options_of(__doc__, "20,000 and 40,000 keys on 200 nodes")
    parser.add_argument("--keys", type=int, nargs="+", help="other numbers of keys")
    parser.add_argument("--limit-s", type=float, default=SIZE_LIMIT_S, help="the most that one size may take")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="also write the plots there, as SVG")
    parser.add_argument("--one", help="one size in this process, for the benchmark itself")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(*json.loads(options.one)))))
        return 0
    report = Report("scale", judged=not options.quick)
    if options.quick:
        curves = run(report, options.keys or QUICK_KEYS, (170, 340), 200, options.limit_s)
    else:
        curves = run(report, options.keys or KEYS, (170, 340, 1000, 2000), NODES, options.limit_s)
    for name, curve in curves.items():
        report.draw(curve)
        if options.plots is not None:
            options.plots.mkdir(parents=True, exist_ok=True)
            draw_curve(curve, options.plots / f"{name}.svg")
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
