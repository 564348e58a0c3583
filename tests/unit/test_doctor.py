"""What the doctors say of places where they find no Ray, or a node less."""

from __future__ import annotations

import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from memories import cluster_doctor, doctor
from memories.actors.status import Snapshot, TierStatus


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses whose GCS was asked; on this machine there is one."""
    addresses: list[str] = []
    session = SimpleNamespace(running_here=lambda: "10.0.0.1:6379")
    kills = SimpleNamespace(memory_kills=lambda address: addresses.append(address) or [])
    monkeypatch.setitem(sys.modules, "memories.actors.session", session)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "memories.actors.memory_kills", kills)  # type: ignore[arg-type]
    return addresses


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_no_address_is_that_of_this_machine(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert doctor._memory_monitor().state == "ok"
    assert asked == ["10.0.0.1:6379"]


def test_a_port_for_clients_is_not_asked_for_what_the_gcs_knows(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    found = doctor._memory_monitor()
    assert (found.state, asked) == ("ok", [])
    assert "--cluster" in found.fact


def test_the_tiers_of_a_dead_node_are_not_counted() -> None:
    tiers = tuple(TierStatus(f"{node}/cold", "cold", node, 0, 0, 1, True) for node in ("n1", "n2"))
    nodes = (
        {"NodeID": "n1", "NodeName": "one", "Alive": True},
        {"NodeID": "n2", "NodeName": "two", "Alive": False},
    )
    snapshot = Snapshot(cluster="c", taken_s=0.0, tiers=tiers)
    found = cluster_doctor._nodes(cluster_doctor.Patient(snapshot, "", nodes, Counter()))
    assert found.fact == "1 in Ray, 1 of them with tiers"
