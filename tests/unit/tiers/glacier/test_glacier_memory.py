"""GlacierMemory: settings, the seed's blocks, pickles, secrets, batches, sweeping."""

from __future__ import annotations

import io
import logging
import os
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memories.errors import (
    InvalidType,
    InvalidValue,
    KeyNotFound,
    MissingDependency,
    PickleRefused,
    Unavailable,
)
from memories.tiers.glacier.config import GlacierConfig
from memories.tiers.glacier_memory import GlacierMemory
from memories.tiers.progress import Progress
from tests.support.clock import ManualClock

CANARY = "canary-9c1f-secret"


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[GlacierMemory]:
    with GlacierMemory("local", {"storage_path": tmp_path / "objects"}) as opened:
        yield opened


def test_the_blocks_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    from memories.core.glacier_memory import GlacierMemory

    archive_data = {"table": np.arange(1_000.0), "note": "kept"}
    archive_1, archive_2, archive_3 = np.ones(10), "two", [3]
    glacier_memory = GlacierMemory(provider="local", config={"storage_path": "./glacier_storage"})
    glacier_memory.store("archive_2024", archive_data)
    data = glacier_memory.retrieve("archive_2024")
    assert data["note"] == "kept"
    assert np.array_equal(data["table"], archive_data["table"])
    glacier_memory.batch_store(
        [
            {"key": "archive_1", "value": archive_1},
            {"key": "archive_2", "value": archive_2},
            {"key": "archive_3", "value": archive_3},
        ]
    )
    assert glacier_memory.batch_retrieve(["archive_2", "archive_3"]) == {"archive_2": "two", "archive_3": [3]}
    assert glacier_memory.batch_delete(["archive_1", "archive_2", "absent"]) == 2
    assert sorted(glacier_memory.keys()) == ["archive_2024", "archive_3"]
    glacier_memory.close()
    assert (tmp_path / "glacier_storage").is_dir()


def test_the_configuration_of_the_seed() -> None:
    glacier_config = {
        "provider": "s3",
        "bucket": "memories-archive",
        "prefix": "archive/",
        "region": "us-west-2",
        "encryption": "AES256",
    }
    config = GlacierConfig.from_mapping(glacier_config)
    assert config.object_prefix == "archive/"
    for memory in (GlacierMemory(config=glacier_config), GlacierMemory(**glacier_config)):
        assert memory.config == config
        assert repr(memory) == "GlacierMemory(provider='s3', 'memories-archive', prefix='archive/')"
        memory.close()


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "storage_path"),
        ({"provider": "s3"}, "bucket"),
        ({"provider": "s3", "bucket": ""}, "bucket"),
        ({"provider": "tape"}, "one of 'local', 's3', 'gcs', 'azure'"),
        ({"provider": "s3", "bucket": "b", "account_key": "x"}, "account_key.*does not know"),
        ({"storage_path": "x", "colour": "red"}, "colour"),
        ({"storage_path": "x", "encryption": "AES256"}, "local folder has none"),
        ({"storage_path": "x", "encryption": "rot13"}, "encryption must be"),
        ({"storage_path": "x", "prefix": "../up"}, "prefix"),
        ({"storage_path": "x", "compression": "rar"}, "compression must be"),
        ({"storage_path": "x", "compression": "zstd", "compression_level": "high"}, "level"),
        ({"storage_path": "x", "compression_level": 3}, "needs a compression"),
        ({"storage_path": "x", "concurrency": 0}, "concurrency"),
        ({"storage_path": "x", "part_size_mb": 1}, "5 to 1024"),
        ({"storage_path": "x", "deadline_s": float("nan")}, "deadline_s"),
        ({"storage_path": "x", "conditional_writes": "no"}, "conditional_writes"),
        ({"storage_path": "x", "encryption_key": "ab" * 32, "encryption_keys": {}}, "not both"),
        ({"storage_path": "x", "encryption_keys": {}}, "no encryption key"),
        ({"storage_path": "x", "encryption_key_id": "k"}, "encryption_key_id without"),
    ],
)
def test_settings_that_cannot_be(
    config: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InvalidValue, InvalidType), match=says):
        GlacierMemory(config=config)
    assert list(tmp_path.iterdir()) == [], "nothing may have been made"


def test_the_provider_is_named_once_or_twice_but_not_differently() -> None:
    with pytest.raises(InvalidValue, match="config says 's3'"):
        GlacierMemory("local", {"provider": "s3", "bucket": "b"})
    with pytest.raises(InvalidType, match="mapping"):
        GlacierMemory("local", "storage")  # type: ignore[arg-type]


@pytest.mark.parametrize(("provider", "module"), [("gcs", "google.cloud.storage"), ("azure", "obstore")])
def test_a_missing_library_names_its_extra(
    provider: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    parent, _, child = module.rpartition(".")
    if parent in sys.modules:  # "from parent import child" takes the attribute, where there is one
        monkeypatch.delattr(sys.modules[parent], child, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=re.escape(f"pip install 'memories[{provider}]'")):
        GlacierMemory(provider, {"bucket": "b"})


class Custom:
    pass


def test_pickles_are_refused_on_store_and_on_retrieve(memory: GlacierMemory, tmp_path: Path) -> None:
    with pytest.raises(PickleRefused, match="allow_pickle"):
        memory.store("k", Custom())
    with pytest.raises(PickleRefused):
        memory.batch_store([("fine", 1), ("k", [Custom()])])
    assert list(memory.keys()) == []
    with GlacierMemory("local", {"storage_path": tmp_path / "objects"}, allow_pickle=True) as trusting:
        trusting.store("k", Custom())
    with pytest.raises(PickleRefused, match="allow_pickle"):
        memory.retrieve("k")


def test_keys_of_expired_values_are_listed_until_touched_unless_the_inventory_is_read(tmp_path: Path) -> None:
    clock = ManualClock()
    where = {"storage_path": tmp_path}
    with GlacierMemory("local", where, clock=clock) as memory:
        memory.store("brief", 1, ttl=10)
    clock.advance(10)
    with GlacierMemory("local", where, clock=clock, read_inventory=False) as memory:
        assert list(memory.keys()) == ["brief"]
        with pytest.raises(KeyNotFound, match="time to live"):
            memory.retrieve("brief")
        assert list(memory.keys()) == []
        memory.store("brief", 1, ttl=10)
    clock.advance(10)
    with GlacierMemory("local", where, clock=clock) as memory:
        assert list(memory.keys()) == []


def test_two_memories_on_one_folder_see_each_other(memory: GlacierMemory, tmp_path: Path) -> None:
    with GlacierMemory("local", {"storage_path": tmp_path / "objects"}) as other:
        memory.store("k", np.arange(100_000))
        assert np.array_equal(other.retrieve("k", start=5, end=9), np.arange(5, 9))
        assert other.recount() == memory.used_bytes
        other.delete("k")
        with pytest.raises(KeyNotFound):
            memory.retrieve("k")
    with GlacierMemory("local", {"storage_path": tmp_path / "objects", "prefix": "elsewhere"}) as apart:
        memory.store("k", 1)
        assert list(apart.keys()) == []


def test_sweeping_takes_what_is_old_and_belongs_to_nobody(memory: GlacierMemory, tmp_path: Path) -> None:
    memory.store("k", np.zeros(200_000))
    (body,) = (tmp_path / "objects/bodies").iterdir()
    orphan = body.with_name("k~" + "0" * 32)
    orphan.write_bytes(b"left behind")
    half = tmp_path / "objects/.unfinished/half"
    half.write_bytes(b"half")
    assert memory.sweep() == 0
    for path in (orphan, half, body):
        os.utime(path, (0, 0))
    assert memory.sweep() == 2
    assert not orphan.exists()
    assert not half.exists()
    assert np.array_equal(memory.retrieve("k"), np.zeros(200_000))
    with pytest.raises(InvalidValue):
        memory.sweep(older_than_s=-1)


def test_no_secret_in_reprs_errors_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Every way out of a failing call is searched for the secrets that went in."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="memories")  # botocore's own debug log shows session tokens
    secrets = {
        "secret_access_key": f"{CANARY}-1",
        "session_token": f"{CANARY}-2",
        "encryption_key": "ca4a" * 16,
    }
    config = {
        "bucket": "b",
        "region": "us-east-1",
        "access_key_id": "AKIA",
        "endpoint": "http://127.0.0.1:9",  # the discard port: nobody listens
        "max_attempts": 2,
        **secrets,
    }
    shown: list[str] = []
    with GlacierMemory("s3", config) as memory:
        shown += [repr(memory), str(memory), repr(memory.config), repr(memory._glacier), repr(vars(memory))]
        for call in (lambda: memory.store("k", 1), lambda: memory.retrieve("k"), lambda: list(memory.keys())):
            with pytest.raises(Unavailable) as caught:
                call()
            shown += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    for bad in ({"encryption_keys": {"a": f"{CANARY}-3"}}, {"secret_acess_key": f"{CANARY}-4"}):
        with pytest.raises(InvalidValue) as caught_value:
            GlacierMemory("s3", {"bucket": "b", "region": "x", **bad})
        shown += ["".join(traceback.format_exception(caught_value.value))]
    text = "\n".join([*shown, caplog.text])
    assert "reading keys/k" in text
    assert CANARY not in text
    assert secrets["encryption_key"] not in text
    assert repr(bytes.fromhex(secrets["encryption_key"]))[2:-1] not in text


# Progress -------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run_progress(stream: io.StringIO, seconds_a_step: float) -> str:
    clock = ManualClock()
    with Progress("storing", 10, unit="values", stream=stream, clock=clock) as progress:
        for _ in range(10):
            clock.advance(seconds_a_step)
            progress.advance()
    return stream.getvalue()


def test_a_bar_is_for_people_who_wait() -> None:
    assert "storing" in run_progress(Terminal(), 1.0)
    assert "10/10" in run_progress(Terminal(), 1.0)
    assert run_progress(Terminal(), 0.1) == ""
    assert run_progress(io.StringIO(), 1.0) == ""


def test_batches_report_each_value(memory: GlacierMemory) -> None:
    steps: list[int] = []
    with memory._glacier.reporting(lambda: steps.append(1)):
        memory.store_many({f"k{n}": n for n in range(7)})
        assert len(steps) == 7
        memory.retrieve_many([f"k{n}" for n in range(7)])
        memory.delete_many([f"k{n}" for n in range(7)])
    assert len(steps) == 21
    memory.store_many({"a": 1, "b": 2})
    assert len(steps) == 21
