"""What users of a bucket meet sooner or later, against real servers: every fault is a clear error of ours,
and nothing half-written is ever visible."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from memories.errors import (
    BucketNotFound,
    ConflictingWrite,
    CorruptData,
    DeadlineExceeded,
    KeyNotFound,
    MemoriesError,
    PermissionRefused,
    Unavailable,
)
from memories.tiers.glacier_memory import GlacierMemory
from tests.support import fault_proxy
from tests.support.fault_proxy import FaultProxy, Request, fail_first
from tests.support.glacier_cases import server
from tests.support.object_servers import SeaweedFS

pytestmark = pytest.mark.slow

PROVIDERS = ("s3", "gcs", "azure")
LARGE = np.random.default_rng(0).integers(0, 256, 20 * 2**20, dtype=np.uint8)
"""Above the limit from which uploads go in parts."""
MEDIUM = LARGE[: 2**20]
"""A body of its own, by one request."""
CALLS: dict[str, Callable[[GlacierMemory], Any]] = {
    "store": lambda memory: memory.store("k", 1),
    "store large": lambda memory: memory.store("k", LARGE),
    "retrieve": lambda memory: memory.retrieve("k"),
    "delete": lambda memory: memory.delete("k"),
    "keys": lambda memory: list(memory.keys()),
    "update": lambda memory: memory.pin("k"),
    "clear": lambda memory: memory.clear(),
}


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Callable[..., GlacierMemory]]:
    memories: list[GlacierMemory] = []

    def open_one(provider: str, **changes: Any) -> GlacierMemory:
        prefix = request.node.name.replace("[", "-").replace("]", "").replace(" ", "-")
        config = {**server(provider).config, "prefix": prefix, "max_attempts": 3, **changes}
        memories.append(GlacierMemory(provider, {k: v for k, v in config.items() if v is not None}))
        return memories[-1]

    yield open_one
    for memory in memories:
        memory.close()


@pytest.fixture
def proxy(request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    provider = getattr(request, "param", "s3")
    with FaultProxy(server(provider).port) as running:
        yield running


def through(proxy: FaultProxy, provider: str) -> dict[str, str]:
    """The setting that leads a provider's client through the proxy."""
    direct = server(provider)
    return {"endpoint": direct.endpoint.replace(str(direct.port), str(proxy.port))}


def on_each_provider(*providers: str) -> Any:
    """The test once a provider, its proxy in front of that provider's server."""
    return pytest.mark.parametrize(
        ("provider", "proxy"),
        [(p, p) for p in providers or PROVIDERS],
        indirect=["proxy"],
        ids=providers or PROVIDERS,
    )


# Configuration ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_bucket_that_is_not_there(opened: Any, provider: str, call: str) -> None:
    with pytest.raises(BucketNotFound, match=r"create (it|the bucket 'no-such-bucket')") as caught:
        CALLS[call](opened(provider, bucket="no-such-bucket"))
    assert isinstance(caught.value, FileNotFoundError)


WRONG_CREDENTIALS = {
    "s3 wrong secret": ("s3", {"secret_access_key": "wrong-canary-secret"}),
    "s3 wrong key id": ("s3", {"access_key_id": "nobody", "secret_access_key": "wrong-canary-secret"}),
    "azure wrong key": ("azure", {"account_key": "d3JvbmctY2FuYXJ5LXNlY3JldA=="}),
    "azure wrong signature": (
        "azure",
        {"account_key": None, "sas_token": "sv=2023-01-03&sig=wrong-canary-secret&se=2030-01-01&sp=rw&sr=c"},
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", WRONG_CREDENTIALS)
def test_wrong_credentials(opened: Any, case: str, call: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="memories")
    provider, wrong = WRONG_CREDENTIALS[case]
    memory = opened(provider, **wrong)
    with pytest.raises(PermissionRefused, match="credentials") as caught:
        CALLS[call](memory)
    assert isinstance(caught.value, PermissionError)
    shown = (
        "".join(traceback.format_exception(caught.value)) + caplog.text + repr(memory) + repr(memory.config)
    )
    for secret in ("canary", "d3JvbmctY2FuYXJ5LXNlY3JldA"):
        assert secret not in shown


def test_no_credentials_at_all(opened: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PermissionRefused, match="credentials"):
        opened("s3", access_key_id=None, secret_access_key=None).store("k", 1)
    with pytest.raises(PermissionRefused, match="nobody"):
        opened("s3", access_key_id=None, secret_access_key=None, profile="nobody")


@pytest.mark.parametrize("source", ["environment", "file", "profile", "session", "endpoint in the file"])
def test_boto3_finds_credentials_where_it_always_does(
    opened: Any, source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    s3 = server("s3")
    bare = {"access_key_id": None, "secret_access_key": None, "region": None}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    keys = f"aws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n"
    credentials, settings = tmp_path / "credentials", tmp_path / "config"
    credentials.write_text(f"[{'work' if source == 'profile' else 'default'}]\n{keys}")
    settings.write_text(
        f"[default]\nregion = us-east-1\nendpoint_url = {s3.endpoint}\n[profile work]\nregion = us-east-1\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    if source == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    elif source == "session":
        import boto3

        bare["session"] = boto3.Session(s3.access_key, s3.secret_key, region_name="us-east-1")
    else:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        if source == "profile":
            bare["profile"] = "work"
        if source == "endpoint in the file":
            bare["endpoint"] = None
    memory = opened("s3", **bare)
    memory.store("k", source)
    assert memory.retrieve("k") == source


# Answers that go wrong -------------------------------------------------------------------------------


@on_each_provider()
@pytest.mark.parametrize("fault", [fault_proxy.UNAVAILABLE, fault_proxy.REFUSE, fault_proxy.LOSE_REPLY])
def test_a_server_that_fails_now_and_then_goes_unnoticed(
    opened: Any, provider: str, proxy: FaultProxy, fault: str
) -> None:
    memory = opened(provider, max_attempts=10, **through(proxy, provider))
    # Every third request on average, without a rhythm that could agree with that of the client.
    chance = np.random.default_rng(1).random(10_000)
    proxy.rule = lambda request: fault if chance[request.number] < 1 / 3 else fault_proxy.PASS
    for n in range(5):
        memory.store(f"k{n}", {"n": n, "array": MEDIUM[: n * 100_000]})
    assert sorted(memory.keys()) == [f"k{n}" for n in range(5)]
    for n in range(5):
        value = memory.retrieve(f"k{n}")
        assert value["n"] == n
        assert np.array_equal(value["array"], MEDIUM[: n * 100_000])
    assert memory.delete_many([f"k{n}" for n in range(5)]) == 5
    assert len(proxy.requests) > 30


@on_each_provider()
@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_only_answers_503(opened: Any, provider: str, proxy: FaultProxy, call: str) -> None:
    opened(provider).store("k", "old")
    memory = opened(provider, **through(proxy, provider))
    proxy.rule = lambda request: fault_proxy.UNAVAILABLE
    with pytest.raises(Unavailable, match="failed 3 times") as caught:
        CALLS[call](memory)
    assert isinstance(caught.value, ConnectionError)
    assert opened(provider).retrieve("k") == "old"
    proxy.rule = lambda request: fault_proxy.PASS
    assert memory.retrieve("k") == "old"


def test_slow_down_is_retried_until_the_deadline(opened: Any, proxy: FaultProxy) -> None:
    memory = opened("s3", max_attempts=1000, deadline_s=1.0, **through(proxy, "s3"))
    proxy.rule = lambda request: fault_proxy.SLOW_DOWN
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 1 s.*SlowDown"):
        memory.retrieve("k")
    assert time.monotonic() - began < 5
    assert len(proxy.requests) >= 3


@on_each_provider()
def test_a_server_that_says_nothing(opened: Any, provider: str, proxy: FaultProxy) -> None:
    memory = opened(provider, max_attempts=2, read_timeout_s=0.3, **through(proxy, provider))
    proxy.rule = lambda request: fault_proxy.STALL
    with pytest.raises(Unavailable, match="failed 2 times"):
        memory.retrieve("k")


@on_each_provider()
@pytest.mark.parametrize("value", [MEDIUM, LARGE], ids=["medium", "large"])
def test_truncated_answers(opened: Any, provider: str, proxy: FaultProxy, value: Any) -> None:
    opened(provider).store("k", value)
    memory = opened(provider, **through(proxy, provider))
    proxy.rule = fail_first(2, fault_proxy.TRUNCATE, "GET", "bodies")
    assert np.array_equal(memory.retrieve("k"), value), "the answer that was cut short is asked for again"
    proxy.rule = lambda request: fault_proxy.TRUNCATE
    with pytest.raises(Unavailable, match="failed 3 times"):
        memory.retrieve("k")
    with pytest.raises(Unavailable):
        list(memory.keys())


@on_each_provider()
def test_answers_with_other_bytes_are_corruption(opened: Any, provider: str, proxy: FaultProxy) -> None:
    opened(provider).store("k", MEDIUM)
    memory = opened(provider, **through(proxy, provider))
    for part in ("keys", "bodies"):
        proxy.rule = lambda request, part=part: (
            fault_proxy.RUBBISH if request.method == "GET" and part in request.target else fault_proxy.PASS
        )
        with pytest.raises(CorruptData):
            memory.retrieve("k")


@on_each_provider()
def test_a_listing_goes_on_after_a_page_that_failed(opened: Any, provider: str, proxy: FaultProxy) -> None:
    keys = [f"k{n:04}" for n in range(1_250)]
    writer = opened(provider, concurrency=4)
    writer.store_many([(key, 1) for key in keys])
    memory = opened(provider, **through(proxy, provider))
    # Pages have 1,000 keys, with Azure 5,000: there it is the first and only one that fails.
    failing = (1, 2) if provider == "azure" else (2, 3)
    proxy.rule = lambda request: fault_proxy.UNAVAILABLE if request.number in failing else fault_proxy.PASS
    found = list(memory.keys())
    assert len(found) == len(set(found))
    assert sorted(found) == keys
    assert len(proxy.requests) >= 3
    writer.clear()
    assert list(memory.keys()) == []


# Writers that die and writers that meet --------------------------------------------------------------


@on_each_provider()
@pytest.mark.parametrize("old", [None, "old"])
def test_an_upload_that_fails_half_way_shows_nothing(
    opened: Any, provider: str, proxy: FaultProxy, old: str | None
) -> None:
    if old is not None:
        opened(provider).store("k", old)
    memory = opened(provider, **through(proxy, provider))
    sent = [0]

    def fail_after_a_part(request: Request) -> str:
        if request.method in ("PUT", "POST") and "bodies" in request.target:
            sent[0] += 1
            return fault_proxy.PASS if sent[0] <= 2 else fault_proxy.UNAVAILABLE
        return fault_proxy.PASS

    if provider == "gcs":  # the whole upload is one POST here, its parts go past the proxy
        proxy.rule = lambda request: fault_proxy.UNAVAILABLE if request.method == "POST" else fault_proxy.PASS
    else:
        proxy.rule = fail_after_a_part
    with pytest.raises(Unavailable):
        memory.store("k", LARGE)
    survivor = opened(provider)
    if old is None:
        assert list(survivor.keys()) == []
        with pytest.raises(KeyNotFound):
            survivor.retrieve("k")
    else:
        assert survivor.retrieve("k") == old
    proxy.rule = lambda request: fault_proxy.PASS
    memory.store("k", LARGE)
    assert np.array_equal(survivor.retrieve("k"), LARGE)
    if provider == "s3":
        uploads = server("s3").client().list_multipart_uploads(Bucket=server("s3").bucket)
        prefix = memory.config.object_prefix
        assert not [upload for upload in uploads.get("Uploads", []) if upload["Key"].startswith(prefix)]


def test_a_server_that_is_killed_in_the_middle_of_an_upload() -> None:
    """SIGKILL between two parts; afterwards the old value is there, and the new one can be stored."""
    with SeaweedFS() as s3, FaultProxy(s3.port) as proxy:
        config = {**s3.config, "max_attempts": 3, "endpoint": proxy.endpoint}
        with GlacierMemory("s3", config) as memory:
            memory.store("k", "old")
            killed = threading.Event()

            def kill_at_the_second_part(request: Request) -> str:
                if "partNumber=2" in request.target and not killed.is_set():
                    killed.set()
                    s3.kill()
                return fault_proxy.PASS

            proxy.rule = kill_at_the_second_part
            with pytest.raises(Unavailable, match="part"):
                memory.store("k", LARGE)
            assert killed.is_set()
            with pytest.raises(Unavailable):
                memory.retrieve("k")

            s3.start()
            assert memory.retrieve("k") == "old"
            assert list(memory.keys()) == ["k"]
            memory.store("k", LARGE)
            assert np.array_equal(memory.retrieve("k"), LARGE)
            memory.sweep(older_than_s=0)
            assert not s3.client().list_multipart_uploads(Bucket=s3.bucket).get("Uploads")
            bodies = s3.client().list_objects_v2(Bucket=s3.bucket, Prefix="bodies/")
            assert bodies["KeyCount"] == 1
            assert np.array_equal(memory.retrieve("k"), LARGE)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_becomes_a_value_or_nothing(opened: Any, provider: str) -> None:
    memory = opened(provider, encryption_key="7e" * 32)
    content = LARGE.tobytes() + b"the end"
    with memory.open_writer("file") as file:
        for start in range(0, len(content), 1_000_003):
            file.write(content[start : start + 1_000_003])
        assert list(memory.keys()) == []
    with memory.open_reader("file") as file:
        assert file.read() == content
    writer = memory.open_writer("file")
    writer.write(content)
    writer.abandon()
    with memory.open_reader("file") as file:
        assert file.read(100) == content[:100]
    used = memory.used_bytes
    assert memory.recount() == used
    if provider == "s3":
        uploads = server("s3").client().list_multipart_uploads(Bucket=server("s3").bucket).get("Uploads", [])
        assert not [upload for upload in uploads if upload["Key"].startswith(memory.config.object_prefix)]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_two_writers_of_one_key(opened: Any, provider: str) -> None:
    """Every value that is read was stored as a whole, and a writer that lost was told so."""
    memories = [opened(provider), opened(provider)]
    memories[0].store("k", np.zeros(400_000, np.uint8))
    conflicts: list[int] = []
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(8):
                try:
                    memories[number].store("k", np.full(300_000 + turn, 10 * number + turn, np.uint8))
                except ConflictingWrite:
                    conflicts.append(number)
                value = memories[1 - number].retrieve("k")
                assert (value == value[0]).all()
        except (AssertionError, MemoriesError) as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    last = memories[0].retrieve("k")
    assert (last == last[0]).all()
    assert memories[0].recount() == memories[0]._glacier.stored_bytes("k"), "a loser's bytes were left behind"


@on_each_provider()
def test_a_conflict_between_two_processes_is_reported(opened: Any, provider: str, proxy: FaultProxy) -> None:
    other = opened(provider)
    memory = opened(provider, **through(proxy, provider))
    memory.store("k", "first")
    done: list[str] = []

    def overtake(request: Request) -> str:
        if request.method in ("PUT", "POST") and not done:
            done.append("k")
            other.store("k", "theirs")
        return fault_proxy.PASS

    proxy.rule = overtake
    with pytest.raises(ConflictingWrite, match="at the same time"):
        memory.store("k", "mine")
    assert memory.retrieve("k") == "theirs"
    memory.store("k", "mine")
    assert other.retrieve("k") == "mine"


def test_server_side_encryption_is_asked_for(opened: Any) -> None:
    s3 = server("s3")
    memory = opened("s3", encryption="AES256")
    memory.store("small", 1)
    memory.store("large", LARGE)
    assert np.array_equal(memory.retrieve("large"), LARGE)
    listed = s3.client().list_objects_v2(Bucket=s3.bucket, Prefix=memory.config.object_prefix)["Contents"]
    assert len(listed) == 3
    for item in listed:
        head = s3.client().head_object(Bucket=s3.bucket, Key=item["Key"])
        assert head["ServerSideEncryption"] == "AES256"
