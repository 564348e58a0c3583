"""The core without Ray: one coordinator for 1,000 simulated nodes and up to 10,000,000 keys.

    python -m benchmarks.scale [--quick] [--json FILE] [--keys N ...]

The members are simulated: they report inventories and carry every command out at once, so all that is
measured is the coordinator's own work, on one thread. Every node has a warm and a cold member; every key
has two copies, in the warm members of two nodes. Each size runs in a process of its own:

- rebuild: the catalog from the inventories of all members;
- memory: growth of the resident set by the catalog, over the keys;
- decisions: requests to store, find and delete that are answered in a second, and the messages that a
  stored key costs (requests, commands, answers, replies);
- loss of nodes: seconds of work until the first copies are ordered, and until every key has its two copies
  again. Ten nodes are lost, or fewer where these hold so many keys that the work, which grows with the keys
  that lost a copy, would not end; what ten would take is then computed from that, and said to be.

A size that does not fit into the memory that is there, or into its time, is left out, and that is said.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import psutil

from benchmarks.bars import Curve, Report, options_of
from memories.actors.core import commands as out
from memories.actors.core import events as ev
from memories.actors.core.coordinator import CoordinatorCore
from memories.actors.core.inventory import Inventory
from memories.actors.core.model import CoreConfig, MemberInfo, RequestId, StoreOptions

NODES = 1000
LOST = 10
MOST_AFFECTED = 25_000
KEYS = (100_000, 1_000_000, 3_000_000, 10_000_000)
QUICK_KEYS = (20_000, 40_000)
NEIGHBOURS = 16
"""The second copies of a node's keys lie on so many other nodes; lost nodes are farther apart than that, so
that no key loses both."""
BATCH = 64
VALUE_BYTES = 1000
SIZE_LIMIT_S = 270.0
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
    lost_nodes: int

    @property
    def ms_a_copy(self) -> float:
        """Work for each key that lost a copy."""
        return 1e3 * self.replan_s / max(1, self.copies)

    @property
    def ten_nodes_s(self) -> float:
        """The work after the loss of ten nodes: measured where ten were lost, else computed."""
        return self.replan_s * LOST / self.lost_nodes


class Cluster:
    """A coordinator core and members that do at once what they are told."""

    def __init__(self, nodes: int, keys: int) -> None:
        self.nodes = nodes
        self.keys_a_node = keys // nodes
        self.working_s = 0.0
        self.slowest_s = 0.0
        self.messages = 0
        self.replies = 0
        self.copies = 0
        self.transfers = 0
        self.core = CoordinatorCore("bench", lambda: 0.0, lambda: 1e9, CoreConfig())
        self.members = tuple(
            MemberInfo(f"n{node:04}/{tier}", f"n{node:04}", tier, 1, tier == "cold", 1 << 40)
            for node in range(nodes)
            for tier in ("warm", "cold")
        )
        self.lost: set[str] = set()

    def tell(self, event: ev.Event) -> None:
        """Give the core an event, and do all that follows."""
        self._carry_out(self.work(event))

    def work(self, event: ev.Event) -> Sequence[out.Command]:
        """One event, on the clock."""
        started_s = time.perf_counter()
        commands = self.core.handle(event)
        took_s = time.perf_counter() - started_s
        self.working_s += took_s
        self.slowest_s = max(self.slowest_s, took_s)
        self.messages += 1
        return commands

    def _carry_out(self, commands: Sequence[out.Command]) -> None:
        queue = deque(commands)
        while queue:
            queue.extend(self._answer(queue.popleft()))

    def _answer(self, command: out.Command) -> Sequence[out.Command]:
        match command:
            case out.PersistView(view):
                return self.work(ev.ViewPersisted(view.number, 0.0))
            case out.CheckView(number, asked_s):
                return self.work(ev.ViewChecked(number, asked_s))
            case out.TakeInventory(fence):
                self.messages += 1
                inventory = self.inventory_of(fence.member)
                return self.work(
                    ev.InventoryReported(fence.member, fence.incarnation, fence.stamp, inventory)
                )
            case out.Reply():
                self.messages += 1
                self.replies += 1
                if command.outcomes is not None:
                    raise AssertionError(f"a request failed: {command}")
            case out.Stop():
                raise AssertionError(command.reason)
            case out.PutMany() | out.CopyMany() | out.DropMany() | out.MarkMany() | out.UpdateMany():
                self.messages += 1
                if isinstance(command, out.CopyMany):
                    self.copies += len(command.keys)
                    self.transfers += 1
                fence = command.fence
                if fence.member not in self.lost:
                    return self.work(ev.Done(fence.member, fence.incarnation, fence.stamp))
            case _:
                pass
        return ()

    def inventory_of(self, member: str) -> Inventory:
        """Keys number n * keys_a_node and on are those of node n; its neighbours have the second copies."""
        node, _, tier = member.partition("/")
        numbers = np.zeros(0, np.int64)
        if tier == "warm":
            place, size = int(node[1:]), self.keys_a_node
            own = np.arange(place * size, (place + 1) * size)
            others = []
            for distance in range(1, NEIGHBOURS + 1):
                first = (place - distance) % self.nodes * size
                theirs = np.arange(first, first + size)
                others.append(theirs[theirs % NEIGHBOURS == distance - 1])
            numbers = np.concatenate([own, *others])
        count = len(numbers)
        return Inventory(
            keys=[f"features/{number:08}" for number in numbers.tolist()],
            epochs=np.ones(count, np.int64),
            sequences=numbers // BATCH + 1,
            kinds=np.zeros(count, np.int8),
            sizes=np.full(count, VALUE_BYTES),
            replicas=np.full(count, 2, np.int16),
            durable=np.zeros(count, np.bool_),
            pinned=np.zeros(count, np.bool_),
            priorities=np.zeros(count),
            expires_s=np.full(count, np.nan),
            names=("writer",),
            client_rows=np.arange(count),
            client_names=np.zeros(count, np.int64),
            client_sequences=numbers // BATCH + 1,
        )


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

    lost_nodes = max(1, min(LOST, MOST_AFFECTED // (2 * cluster.keys_a_node)))
    cluster.lost = {
        f"n{number * nodes // LOST:04}/{tier}" for number in range(lost_nodes) for tier in ("warm", "cold")
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
        lost_nodes=lost_nodes,
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


def run(report: Report, sizes: Sequence[int], node_counts: Sequence[int], nodes: int, limit_s: float) -> None:
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
    if by_keys:
        draw(report, by_keys, by_nodes)


def tell(report: Report, found: Found) -> None:
    size = f"{found.keys:,} keys, {found.nodes:,} nodes"
    report.figure(f"memory a key, {size}", found.bytes_a_key, "B")
    report.figure(
        f"rebuild from inventories, {size}",
        found.rebuild_s,
        "s",
        detail=f"{1e6 * found.rebuild_s / found.keys:.2f} us a key",
    )
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
    lost = f"loss of {found.lost_nodes} node{'s' if found.lost_nodes > 1 else ''}"
    report.figure(
        f"{lost}, until copies are ordered, {size}",
        found.first_orders_s,
        "s",
        detail=f"slowest single event {found.slowest_event_s:.2f} s",
    )
    report.figure(
        f"{lost}, until all is planned again, {size}",
        found.replan_s,
        "s",
        detail=f"{found.copies:,} copies in {found.transfers:,} transfers, {found.ms_a_copy:.2f} ms a copy",
    )
    if found.lost_nodes < LOST:
        report.figure(
            f"loss of {LOST} nodes, computed from that, {size}", found.ten_nodes_s, "s", detail="not measured"
        )


def draw(report: Report, by_keys: Sequence[Found], by_nodes: Sequence[Found]) -> None:
    def line(name: str, found: Sequence[Found], over: str, scale: float = 1.0) -> list[tuple[float, float]]:
        return [(getattr(one, over), scale * getattr(one, name)) for one in found]

    memory = [(one.keys, one.keys * one.bytes_a_key / 1e9) for one in by_keys]
    report.draw(Curve("Memory of the catalog", "keys", "GB", {"resident": [*memory]}, log_x=True, log_y=True))
    report.draw(
        Curve(
            f"One coordinator, {by_keys[0].nodes:,} nodes",
            "keys",
            "seconds of work",
            {
                "rebuild from inventories": line("rebuild_s", by_keys, "keys"),
                f"loss of {LOST} nodes, all planned again (above 1.25 million computed)": line(
                    "ten_nodes_s", by_keys, "keys"
                ),
            },
            log_x=True,
            log_y=True,
        )
    )
    rates = {
        "stores of one key": "stores_per_s",
        f"keys in batches of {BATCH}": "batched_keys_per_s",
        "finds": "finds_per_s",
        "deletes": "deletes_per_s",
    }
    for over, found, label in (("keys", by_keys, "keys"), ("nodes", by_nodes, "nodes")):
        if found:
            lines = {name: line(field, found, over) for name, field in rates.items()}
            title = f"Decisions over {label}"
            report.draw(Curve(title, label, "a second", lines, log_x=True, log_y=True))


def main() -> int:
    parser = options_of(__doc__, "20,000 and 40,000 keys on 200 nodes")
    parser.add_argument("--keys", type=int, nargs="+", help="other numbers of keys")
    parser.add_argument("--limit-s", type=float, default=SIZE_LIMIT_S, help="the most that one size may take")
    parser.add_argument("--one", help="one size in this process, for the benchmark itself")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(*json.loads(options.one)))))
        return 0
    report = Report("scale")
    if options.quick:
        run(report, options.keys or QUICK_KEYS, (170, 340), 200, options.limit_s)
    else:
        run(report, options.keys or KEYS, (170, 340, 1000, 2000), NODES, options.limit_s)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
