"""Log entries carry what they are about, as text that can be split and as JSON."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from memories.actors import logs
from memories.actors.core import commands as cmd
from memories.actors.core import events as ev
from memories.actors.core.model import Outcome, RequestId
from memories.tiers.record import Version


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger(logs.ROOT)
    before = root.handlers[:], root.propagate, root.level
    yield
    root.handlers[:], root.propagate = before[0], before[1]
    root.setLevel(before[2])


def entry(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def delete(key: str) -> ev.DeleteMany:
    return ev.DeleteMany(RequestId("client", 7), (key, "other"))


def reply(*outcomes: Outcome) -> cmd.Reply:
    return cmd.Reply(RequestId("client", 7), outcomes or None, version=Version(3, 12))


def test_a_request_that_failed_is_a_warning_with_key_version_and_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.set_up("default", "coordinator", "json")
    logs.note_request(delete("a"), reply(Outcome.OK, Outcome.ERROR))
    found: dict[str, Any] = json.loads(entry(capsys))
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "WARNING",
        "logger": "memories.actors.logs",
        "message": "DeleteMany",
        "key": "other",
        "keys": 2,
        "version": "3.12",
        "request": "client/7",
        "outcome": "error",
        "cluster": "default",
        "actor": "coordinator",
    }


def test_a_request_that_went_well_is_logged_for_debugging_only(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("default", "coordinator", "json")
    logs.note_request(delete("a"), reply())
    logs.note_request(delete("a"), reply(Outcome.OK, Outcome.MISSING))
    assert entry(capsys) == ""
    logs.set_up("default", "coordinator", "json", "DEBUG")
    logs.note_request(delete("a"), reply())
    assert json.loads(entry(capsys))["outcome"] == "ok"


def test_text_can_be_split_again_whatever_the_key(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("default", "n/warm0", "text")
    logs.note_request(delete('a b="c\n'), reply(Outcome.FULL, Outcome.FULL))
    line = entry(capsys)
    assert line.count("\n") == 1
    pairs = dict(word.split("=", 1) for word in shlex.split(line) if "=" in word)
    assert pairs["key"].startswith('a b="c')
    assert pairs["request"] == "client/7"
    assert pairs["actor"] == "n/warm0"


def test_a_traceback_stays_within_its_entry(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("default", "coordinator", "json")
    try:
        raise ValueError("what happened")
    except ValueError:
        logging.getLogger("memories.somewhere").exception("a round failed")
    found = json.loads(entry(capsys))
    assert "ValueError: what happened" in found["traceback"]


def test_setting_up_twice_writes_once_and_the_environment_decides(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "json")
    monkeypatch.setenv(logs.LEVEL_VARIABLE, "info")
    for _ in range(2):
        logs.set_up("default", "coordinator")
    logging.getLogger("memories.x").info("once")
    assert json.loads(entry(capsys))["message"] == "once"
