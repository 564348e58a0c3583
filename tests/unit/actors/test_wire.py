"""Messages come out of their bytes as they went in."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from ray import cloudpickle

from memories.actors import wire
from memories.actors.core import commands as cmd
from memories.actors.core import events as ev
from memories.actors.core.model import Fence, Kind, Outcome, Refusal, RequestId, StoreOptions, Version
from memories.actors.parcel import pack_many
from memories.actors.readings import Reading, Readings, ReadMany, ReadState
from memories.tiers.codec import encode

REQUEST, VERSION = RequestId("client", 3), Version(1, 2)
FENCE = Fence("n1/warm", 7, 1, 5, 4)
OPTIONS = StoreOptions("n1", "warm", 2, True, True, 1.5, 9.0, True)
PARCEL = pack_many([encode(b"bytes"), encode({"a": 1})], [{"said": 1}, {}])
KEYS, VERSIONS = ("a", "b"), (VERSION, Version(2, 1))
CLIENTS = {"a": (("client", 3),)}

MESSAGES: list[Any] = [
    cmd.PutMany(FENCE, REQUEST, VERSION, KEYS, (5, 9), (0, 1), PARCEL, OPTIONS, CLIENTS),
    cmd.CopyMany(FENCE, "n2/warm", 8, KEYS, VERSIONS, (5, 9)),
    cmd.DropMany(FENCE, KEYS, VERSIONS, True),
    cmd.MarkMany(FENCE, Kind.SUPERSEDED, VERSION, KEYS, CLIENTS),
    cmd.UpdateMany(FENCE, REQUEST, KEYS, VERSIONS, {"pinned": True}),
    cmd.TakeInventory(FENCE),
    cmd.Reply(REQUEST, (Outcome.OK, Outcome.FULL), VERSION, 2, True, message="why"),
    cmd.Reply(REQUEST, located=(cmd.Located(Outcome.OK, VERSION, 5, (("n1/warm", 7),)),), keys=KEYS),
    ev.StoreMany(REQUEST, KEYS, (5, 9), PARCEL, OPTIONS),
    ev.DeleteMany(REQUEST, KEYS),
    ev.LocateMany(REQUEST, KEYS, "n1", False),
    ev.ListKeys(REQUEST, "prefix"),
    ev.MoveMany(REQUEST, KEYS, "cold", "n1", True),
    ev.UpdateKeys(REQUEST, KEYS, {"priority": 2.0}),
    ev.Done("n1/warm", 7, 5, (Outcome.OK, Outcome.ERROR), Refusal.EPOCH),
    ReadMany(7, KEYS, VERSIONS, "n1"),
    Readings((b"h", b""), ((5,), ()), (5, 5), b"bytes", {1: Reading(ReadState.GONE)}, VERSIONS),
    Readings((b"",), ((),), (0,), b"", {0: Reading(ReadState.OK, VERSION, b"h", (9,), path="/file")}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_out_as_it_went_in(message: Any) -> None:
    packed = wire.dump(message)
    assert isinstance(packed, bytes)
    assert wire.load(packed) == message
    assert type(wire.load(packed)) is type(message)
    assert pickle.loads(cloudpickle.dumps(message)) == message  # as Ray does with what carries references
