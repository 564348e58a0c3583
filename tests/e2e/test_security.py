"""What listens, who is refused, and that no secret is ever shown."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.dashboard.consts import DASHBOARD_METRIC_PORT

from memories.actors.strangers import Answer, ask_gcs, ask_ray_client
from tests.support.browser import Browser, browser_or_skip
from tests.support.command_line import memories, ok
from tests.support.dashboard_server import PAGES, Server, look
from tests.support.guarded_cluster import CANARIES, SECRET_ACCESS_KEY, TOKEN
from tests.support.object_servers import SeaweedFS

ROOT = Path(__file__).parents[2]
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Guarded:
    """The cluster of `tests/support/guarded_cluster.py`."""

    address: str
    pid: int
    shown: tuple[str, ...]
    logs: Path
    snapshot: Path
    token: Path

    def processes(self) -> list[psutil.Process]:
        """Everything that was started for it."""
        return psutil.Process(self.pid).children(recursive=True)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    store = SeaweedFS()
    store.secret_key = SECRET_ACCESS_KEY
    store.start()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.guarded_cluster", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(store.config) + "\n")
        process.stdin.flush()
        found = json.loads(process.stdout.readline())
        yield Guarded(
            found["address"],
            process.pid,
            tuple(found["shown"]),
            Path(found["logs"]),
            Path(found["snapshot"]),
            folder / "token",
        )
    finally:
        process.stdin.close()
        process.wait(60)
        store.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    opened = browser_or_skip()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def dashboard(guarded: Guarded) -> Iterator[Server]:
    """`memories dashboard`, with the token, started as the documents say."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(guarded.token)}
    served = Server("--address", guarded.address, "--name", "guarded", **token)
    yield served
    served.end()


def listening(processes: list[psutil.Process]) -> list[tuple[str, str, int]]:
    """Program, address and port of every socket that listens."""
    found = []
    for process in processes:
        try:
            name = program_of(process)
            sockets = process.net_connections(kind="tcp")
        except psutil.NoSuchProcess:
            continue
        for connection in sockets:
            if connection.status == psutil.CONN_LISTEN:
                found.append((name, connection.laddr.ip, connection.laddr.port))
    return found


def program_of(process: psutil.Process) -> str:
    """The name under which docs/security.md has it."""
    command = process.cmdline()
    if command and Path(command[0]).name in ("gcs_server", "raylet"):
        return Path(command[0]).name  # a raylet's arguments name other programs as well
    words = " ".join(command)
    for mark, name in (
        ("ray.util.client.server", "ray client server"),
        ("dashboard/dashboard.py", "dashboard"),
        ("dashboard/agent.py", "dashboard agent"),
        ("runtime_env/agent", "runtime env agent"),
        ("memories dashboard", "memories dashboard"),
        ("memories.dashboard.feeder", "memories dashboard driver"),
        ("ray::", "worker"),
        ("default_worker.py", "worker"),
        ("log_monitor.py", "log monitor"),
        ("monitor.py", "autoscaler"),
    ):
        if mark in words:
            return name
    return words[:100]


def documented() -> dict[str, str]:
    """The programs of docs/security.md, and where it says that they listen."""
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|`]+?) \|[^|]*\| (all interfaces|loopback) \|", text, re.MULTILINE)
    return dict(rows)


def test_only_what_the_document_names_listens_and_only_where_it_says(guarded: Guarded) -> None:
    known = documented()
    sockets = listening(guarded.processes())
    assert {"gcs_server", "raylet", "worker"} <= {name for name, _, _ in sockets}
    for program, address, port in sockets:
        # Ray's dashboard opens this one beside its own, unless another Ray on the machine has it.
        name = "dashboard metrics" if (program, port) == ("dashboard", DASHBOARD_METRIC_PORT) else program
        assert name in known, f"{name} listens at {address}:{port}, and docs/security.md does not say so"
        if known[name] == "loopback":
            assert address in LOOPBACK, f"{name} listens at {address}:{port}"


def test_our_dashboard_listens_on_loopback_only(
    guarded: Guarded, dashboard: Server, browser: Browser
) -> None:
    """Its server does; the process that asks the cluster for it is a Ray driver, with the port of one."""
    look(browser, dashboard, "overview", "cluster guarded")  # so that it has asked the cluster
    shown = psutil.Process(dashboard.process.pid)
    assert listening([shown]) == [("memories dashboard", "127.0.0.1", dashboard.port)]
    assert documented()["memories dashboard"] == "loopback"
    children = shown.children(recursive=True)
    assert children, "nobody asks the cluster"
    for program, address, port in listening(children):
        assert program == "memories dashboard driver", f"{program} listens at {address}:{port}"
        assert documented()[program] == "all interfaces"


def test_gcs_and_ray_client_refuse_a_caller_without_the_token(guarded: Guarded) -> None:
    assert ask_gcs(guarded.address) is Answer.REFUSED
    host = guarded.address.partition(":")[0]
    ports = {port for name, _, port in listening(guarded.processes()) if name == "ray client server"}
    assert ports, "no Ray Client server was found"
    for port in ports:
        assert ask_ray_client(f"{host}:{port}") is Answer.REFUSED


def test_a_command_with_the_token_gets_in_and_the_doctor_sees_that_others_do_not(guarded: Guarded) -> None:
    words = ("doctor", "--cluster", "--name", "guarded", "--json")
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(guarded.token)}
    findings = {f["name"]: f for f in json.loads(ok(memories(*words, address=guarded.address, **token)))}
    assert findings["token"]["state"] == "ok"
    assert "refuses" in findings["token"]["fact"]


def test_a_command_without_the_token_says_so_and_gives_up(guarded: Guarded, tmp_path: Path) -> None:
    environment: dict[str, Any] = {"RAY_AUTH_MODE": "disabled", "HOME": str(tmp_path)}
    done = memories("status", "--name", "guarded", address=guarded.address, **environment)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "token" in done.stderr.lower()
    assert TOKEN not in done.stderr


def test_no_secret_is_in_reprs_errors_status_logs_or_snapshots(guarded: Guarded) -> None:
    canaries = [canary.encode() for canary in CANARIES]
    for text in guarded.shown:
        for canary in canaries:
            assert canary not in text.encode(), text[:2000]
    assert guarded.snapshot.stat().st_size > 10_000
    files = [guarded.snapshot, *(path for path in guarded.logs.rglob("*") if path.is_file())]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        for canary in canaries:
            assert canary not in content, f"{path} shows {canary!r}"


def test_no_secret_is_on_a_page_or_in_the_output_of_the_dashboard(guarded: Guarded, browser: Browser) -> None:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(guarded.token)}
    served = Server("--address", guarded.address, "--name", "guarded", **token)
    seen = []
    try:
        for page in PAGES:
            look(browser, served, page, "deep" if page == "tiers" else "cluster guarded")
            seen.append(browser.driver.page_source)
    finally:
        browser.open("about:blank")
        seen.append(served.end())
    for text in seen:
        assert not [canary for canary in CANARIES if canary in text]


def entries(guarded: Guarded) -> list[dict[str, Any]]:
    """What our actors have logged."""
    return [
        json.loads(line)
        for path in guarded.logs.glob("worker-*.err")
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.startswith("{") and '"logger"' in line
    ]


def test_the_logs_say_which_key_version_and_request(guarded: Guarded) -> None:
    lines = entries(guarded)
    stored = [line for line in lines if line["message"] == "StoreMany" and line.get("key") == "a"]
    assert len(stored) == 1
    assert stored[0]["cluster"] == "guarded"
    assert stored[0]["outcome"] == "ok"
    assert re.fullmatch(r"\d+\.\d+", stored[0]["version"])
    assert re.fullmatch(r"[0-9a-f]{32}\.\d+/\d+", stored[0]["request"])
    refused = [line for line in lines if line.get("key") == "big" and line["level"] == "WARNING"]
    assert refused, sorted({line["message"] for line in lines})
    assert refused[0]["request"]


def test_replay_shards_and_networks_log_as_tiers_do(guarded: Guarded) -> None:
    """One entry a call, with what it is about; their settings are those of the cluster's configuration."""
    calls = {line["message"]: line for line in entries(guarded) if line["logger"] == "memories.actors.logs"}
    inserted = calls["insert"]
    assert inserted["key"] == "pong/0"
    assert inserted["actor"].startswith("replay/pong/0/")
    assert inserted["cluster"] == "guarded"
    assert re.fullmatch(r"\S+/\d+", inserted["request"])
    assert int(inserted["version"]) >= 1
    assert inserted["outcome"] == "ok"
    reminded = calls["remind"]
    assert (reminded["actor"], reminded["version"], reminded["outcome"]) == ("memoria/quiet", "1", "ok")
    assert reminded["key"].startswith("quiet/")
    assert re.fullmatch(r"\S+/\d+", reminded["request"])
