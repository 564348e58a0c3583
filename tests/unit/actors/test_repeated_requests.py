"""A request that arrives again, at the same coordinator or at the next one, changes nothing."""

from __future__ import annotations

import pytest

from memories.actors.core.events import MemberJoined, StoreMany
from memories.actors.core.model import Outcome, StoreOptions

from .perfect import PerfectCluster


@pytest.fixture(params=[False, True], ids=["same coordinator", "next coordinator"])
def restart(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def again(cluster: PerfectCluster, restart: bool) -> None:
    if restart:
        cluster.start_coordinator()


def test_an_old_store_does_not_replace_a_newer_one(restart: bool) -> None:
    cluster = PerfectCluster()
    first = cluster.request()
    cluster.store({"k": "old"}, first, replicas=2)
    cluster.store({"k": "new"}, cluster.request("other"), replicas=2)
    again(cluster, restart)
    reply = cluster.store({"k": "old"}, first, replicas=2)
    assert reply is not None
    assert reply.outcomes is None
    assert cluster.get("k") == "new"


def test_an_old_store_does_not_undo_a_delete(restart: bool) -> None:
    cluster = PerfectCluster()
    first = cluster.request()
    cluster.store({"k": "old"}, first)
    cluster.delete("k", request=cluster.request("other"))
    again(cluster, restart)
    cluster.store({"k": "old"}, first)
    assert cluster.get("k") is Outcome.MISSING


def test_an_old_delete_does_not_remove_a_newer_value(restart: bool) -> None:
    cluster = PerfectCluster()
    cluster.store({"k": "old"})
    delete = cluster.request()
    cluster.delete("k", request=delete)
    cluster.store({"k": "new"}, cluster.request("other"))
    again(cluster, restart)
    cluster.delete("k", request=delete)
    assert cluster.get("k") == "new"


def test_an_old_delete_of_an_absent_key_does_not_remove_a_later_value(restart: bool) -> None:
    cluster = PerfectCluster()
    delete = cluster.request()
    reply = cluster.delete("k", request=delete)
    assert reply is not None
    assert reply.outcomes == (Outcome.MISSING,)
    cluster.store({"k": "new"}, cluster.request("other"))
    again(cluster, restart)
    cluster.delete("k", request=delete)
    assert cluster.get("k") == "new"


def test_an_old_update_does_not_change_what_a_newer_one_said(restart: bool) -> None:
    cluster = PerfectCluster()
    cluster.store({"k": 1}, durable=True)
    first = cluster.request()
    cluster.update("k", request=first, priority=1.0)
    cluster.update("k", priority=2.0)
    again(cluster, restart)
    assert cluster.update("k", request=first, priority=1.0) is None
    assert cluster.core.catalog.entries["k"].priority == 2.0


def test_a_failed_store_stays_failed_at_the_same_coordinator() -> None:
    cluster = PerfectCluster(nodes=1)
    request = cluster.request()
    event = StoreMany(request, ("k",), (10,), ("v",), StoreOptions(node="n1", replicas=2))
    cluster.handle(event)
    assert cluster.replies.pop(request).outcomes == (Outcome.TOO_FEW_NODES,)
    for tier in ("warm", "cold"):
        cluster.handle(MemberJoined(cluster.add_member("n2", tier).info))
    cluster.handle(event)
    assert cluster.replies.pop(request).outcomes == (Outcome.TOO_FEW_NODES,)
    assert cluster.get("k") is Outcome.MISSING
