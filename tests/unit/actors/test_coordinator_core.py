"""What the coordinator core does on a network that works."""

from __future__ import annotations

import subprocess
import sys

import pytest

from memories.actors.core.commands import CopyMany, PutMany
from memories.actors.core.events import MemberLost
from memories.actors.core.model import Outcome, RequestId

from .perfect import PerfectCluster


@pytest.fixture
def cluster() -> PerfectCluster:
    return PerfectCluster()


def test_the_core_needs_no_ray() -> None:
    code = (
        "import sys; from memories.actors.core import client, coordinator, tier;"
        "print([name for name in ('ray', 'torch', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_was_stored_is_found_until_it_is_deleted(cluster: PerfectCluster) -> None:
    reply = cluster.store({"a": 1, "b": 2})
    assert reply is not None
    assert (reply.outcomes, reply.copies, reply.durable) == (None, 1, False)
    assert [cluster.get("a"), cluster.get("b"), cluster.get("c")] == [1, 2, Outcome.MISSING]
    assert cluster.keys() == ("a", "b")
    deleted = cluster.delete("a", "c")
    assert deleted is not None
    assert deleted.outcomes == (Outcome.OK, Outcome.MISSING)
    assert [cluster.get("a"), cluster.get("b")] == [Outcome.MISSING, 2]
    assert cluster.core.catalog.used_bytes["n1/warm"] == cluster.tiers["n1/warm"].used_bytes == 10


def test_many_keys_are_one_command_for_each_member(cluster: PerfectCluster) -> None:
    cluster.sent.clear()
    reply = cluster.store({f"k{i}": i for i in range(10_000)}, replicas=2)
    assert reply is not None
    assert reply.copies == 2
    assert [c.fence.member for c in cluster.sent if isinstance(c, PutMany)] == ["n1/warm", "n2/warm"]


def test_durable_means_a_copy_in_a_durable_tier(cluster: PerfectCluster) -> None:
    reply = cluster.store({"a": 1}, durable=True)
    assert reply is not None
    assert reply.durable
    assert set(cluster.core.catalog.entries["a"].holders) == {"n1/warm", "n1/cold"}


def test_more_copies_than_nodes_is_an_error_and_stores_nothing(cluster: PerfectCluster) -> None:
    reply = cluster.store({"a": 1}, replicas=3)
    assert reply is not None
    assert reply.outcomes == (Outcome.TOO_FEW_NODES,)
    assert cluster.get("a") is Outcome.MISSING
    degraded = cluster.store({"a": 1}, replicas=3, allow_degraded=True)
    assert degraded is not None
    assert degraded.copies == 2
    assert cluster.get("a") == 1


def test_a_repeated_request_changes_nothing(cluster: PerfectCluster) -> None:
    request = RequestId("w", 7)
    cluster.store({"a": 1}, request)
    cluster.store({"a": 2}, RequestId("w", 8))
    reply = cluster.store({"a": 1}, request)
    assert reply is not None
    assert reply.outcomes is None
    assert cluster.get("a") == 2
    cluster.delete("a", request=RequestId("x", 1))
    cluster.store({"a": 1}, request)
    assert cluster.get("a") is Outcome.MISSING


def test_a_new_coordinator_knows_what_the_members_have(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1, "b": 2}, replicas=2)
    cluster.store({"c": 3}, RequestId("w", 1), tier="cold")
    cluster.delete("b")
    cluster.start_coordinator()
    assert [cluster.get(key) for key in "abc"] == [1, Outcome.MISSING, 3]
    assert cluster.core.membership.epoch == 2
    cluster.store({"c": 4}, RequestId("w", 1), tier="cold")
    assert cluster.get("c") == 3


def test_a_lost_member_is_replaced_by_a_copy_elsewhere() -> None:
    cluster = PerfectCluster(nodes=3)
    cluster.store({"a": 1}, replicas=2)
    cluster.down.add("n1/warm")
    cluster.handle(MemberLost("n1/warm", 1))
    cluster.tick()
    assert set(cluster.core.catalog.entries["a"].holders) == {"n2/warm", "n3/warm"}
    assert cluster.get("a") == 1


def test_a_value_without_any_copy_is_lost_also_for_the_next_coordinator(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1})
    cluster.down.add("n1/warm")
    cluster.handle(MemberLost("n1/warm", 1))
    assert cluster.get("a") is Outcome.LOST
    assert cluster.get("b") is Outcome.MISSING
    cluster.start_coordinator()
    assert cluster.get("a") is Outcome.LOST
    cluster.store({"a": 2}, node="n2")
    assert cluster.get("a") == 2


def test_a_move_leaves_one_copy_in_the_other_tier(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1})
    reply = cluster.move("a", tier="cold")
    assert reply is not None
    assert reply.outcomes is None
    assert cluster.core.catalog.entries["a"].holders == ("n1/cold",)
    assert "a" not in cluster.tiers["n1/warm"].slots
    assert cluster.get("a") == 1


def test_a_tier_that_no_node_has_is_named(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1})
    for reply in (cluster.store({"b": 2}, tier="glacier"), cluster.move("a", tier="glacier")):
        assert reply is not None
        assert reply.outcomes == (Outcome.TOO_FEW_NODES,)
        assert "no node has a glacier tier" in reply.message
    assert [cluster.get("a"), cluster.get("b")] == [1, Outcome.MISSING]


def test_an_update_changes_every_copy_and_survives_the_coordinator(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1, "b": 2}, replicas=2)
    assert cluster.update("a", "c", pinned=True, priority=2.5) == (Outcome.OK, Outcome.MISSING)
    for tier in ("n1/warm", "n2/warm"):
        assert cluster.tiers[tier].slots["a"].pinned
        assert not cluster.tiers[tier].slots["b"].pinned
    cluster.start_coordinator()
    entry = cluster.core.catalog.entries["a"]
    assert (entry.pinned, entry.priority) == (True, 2.5)
    assert cluster.get("a") == 1


def test_a_repeated_update_does_not_undo_a_later_one(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1})
    first = cluster.request()
    cluster.update("a", request=first, pinned=True)
    cluster.update("a", pinned=False)
    cluster.update("a", request=first, pinned=True)
    assert not cluster.core.catalog.entries["a"].pinned


def test_an_expired_key_is_gone_at_once_and_deleted_soon(cluster: PerfectCluster) -> None:
    cluster.store({"a": 1, "b": 2}, expires_s=1e9 + 5.0)
    cluster.update("b", expires_s=None)
    cluster.now = 5.0
    assert [cluster.get("a"), cluster.get("b")] == [Outcome.MISSING, 2]
    assert "a" in cluster.values["n1/warm"]
    cluster.tick()
    assert "a" not in cluster.values["n1/warm"]
    assert cluster.keys() == ("b",)


def test_a_move_takes_the_fast_copy_and_leaves_the_durable_one(cluster: PerfectCluster) -> None:
    """Sinking from the warm tier what has a durable copy already frees the warm one, and copies nothing."""
    cluster.store({"a": 1}, tier="warm", durable=True)
    before = set(cluster.core.catalog.entries["a"].holders)
    assert {member.partition("/")[2] for member in before} == {"warm", "cold"}
    sent = len(cluster.sent)
    reply = cluster.move("a", tier="cold")
    assert reply is not None
    assert reply.outcomes is None
    assert [m.partition("/")[2] for m in cluster.core.catalog.entries["a"].holders] == ["cold"]
    assert not [c for c in cluster.sent[sent:] if isinstance(c, CopyMany)]
