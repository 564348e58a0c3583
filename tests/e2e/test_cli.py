"""The command line as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from memories.tiers.snapshots import write_snapshot
from tests.support.command_line import MEMORIES, memories
from tests.support.dashboard_server import heed_ctrl_c


def test_version() -> None:
    done = memories("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"memories, version \d+\.\d+\.\d+\n", done.stdout)


def test_doctor_names_what_it_looked_at() -> None:
    done = memories("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("Python", "ray", "torch", "CUDA", "object store", "shared memory", "disk", "RAM", "extras"):
        assert f"{name}:" in done.stdout


def test_doctor_as_json() -> None:
    findings = json.loads(memories("doctor", "--json").stdout)
    states = {finding["name"]: finding["state"] for finding in findings}
    assert states["Python"] == states["ray"] == states["torch"] == "ok"
    assert set(states.values()) <= {"ok", "warning", "error"}


def test_doctor_warns_where_the_data_folder_has_no_room() -> None:
    """/proc has no free space at all, so a data folder there must be named."""
    findings = {
        f["name"]: f for f in json.loads(memories("doctor", "--json", MEMORIES_HOME="/proc/x").stdout)
    }
    assert findings["disk"]["state"] == "warning"
    assert "MEMORIES_HOME" in findings["disk"]["advice"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("doctor", "--no-such-option"),
        ("doctor", "extra"),
        ("status", "--timeout", "0"),
        ("get",),
        ("get", "k", "--rows", "1"),
        ("get", "k", "out.npy", "--json"),
        ("put", "k", "/no/such/file"),
        ("put", "k", "-", "--metadata", "x"),
        ("put", "k", "-", "--tier", "lukewarm"),
        ("rm",),
        ("query", "no json"),
        ("snapshot", "create", "/no/such/folder/file"),
        ("ls", "--limit", "-1"),
        ("status", "--name", "a/b", "--address", "127.0.0.1:1"),
        ("status", "--address", "nonsense"),
        ("status", "extra"),
        ("query",),
        ("query", "{}", "--limit", "x"),
        ("get", "k", "--format", "pickle"),
        ("put", "k"),
        ("put", "k", "-", "--replicas", "0"),
        ("down", "extra"),
        ("declare-gone",),
        ("snapshot", "burn"),
        ("snapshot", "restore"),
        ("snapshot", "list", "extra"),
        ("snapshot", "list", "--name", "a/b"),
        ("replay",),
        ("replay", "stats", "--no-such-option"),
        ("completion", "tcsh"),
        ("demo", "--seed", "x"),
        ("demo", "--report", "/"),
        ("dashboard", "extra"),
        ("dashboard", "--port", "0"),
        ("dashboard", "--name", "a/b"),
        ("dashboard", "--host", "256.1.1.1"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_exit_code_two(arguments: tuple[str, ...]) -> None:
    done = memories(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Usage:" in done.stderr or "Error:" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_has_a_help_text_with_examples() -> None:
    listed = memories("--help").stdout.partition("Commands:")[2]
    names = re.findall(r"^  (\S+)", listed, re.MULTILINE)
    assert {
        "demo", "status", "dashboard", "ls", "query", "get", "put", "rm", "down", "snapshot", "replay",
        "doctor", "declare-gone", "completion",
    } == set(names)  # fmt: skip
    groups = [("snapshot", "create"), ("snapshot", "restore"), ("snapshot", "list"), ("replay", "stats")]
    for words in [*((name,) for name in names), *groups]:
        done = memories(*words, "--help")
        assert done.returncode == 0, words
        assert "Example" in done.stdout, words


def test_help_loads_neither_ray_nor_torch() -> None:
    code = "import sys; from memories.cli import main; main(['--help'], standalone_mode=False); "
    code += "print(sorted({'ray', 'torch', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


def test_the_dashboard_says_where_it_is_and_why_it_cannot_be_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = memories("dashboard", "--port", str(port))
    assert done.returncode == 2
    assert f"nobody can listen at 127.0.0.1:{port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr
    serving = subprocess.Popen(
        [str(MEMORIES), "dashboard", "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    try:
        assert serving.stdout is not None
        assert (
            serving.stdout.readline()
            == f"cluster 'default' is shown at http://127.0.0.1:{port} until Ctrl-C\n"
        )
        wait_until(lambda: _answers(port))
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) in (0, 130)
    finally:
        serving.kill()
        serving.communicate()


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.1)


def test_snapshots_that_are_not_there_are_an_empty_list(tmp_path: Path) -> None:
    assert json.loads(memories("snapshot", "list", "--json", MEMORIES_HOME=str(tmp_path)).stdout) == []
    done = memories("snapshot", "list", MEMORIES_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_is_no_snapshot_is_named_and_hides_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / "default"
    (folder / "dir.memories").mkdir(parents=True)
    (folder / "bad.memories").write_bytes(b"garbage" * 100)
    with (folder / "good.memories").open("wb") as file:
        write_snapshot(file, (), description="nightly")
    done = memories("snapshot", "list", "--json", MEMORIES_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [found["id"] for found in json.loads(done.stdout)] == ["good"]
    assert str(folder / "bad.memories") in done.stderr
    assert "dir.memories" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_completes(shell: str) -> None:
    done = memories("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_MEMORIES_COMPLETE" in done.stdout
    for words, wanted in (
        ("memories do", "plain,doctor"),
        ("memories de", "plain,declare-gone"),
        ("memories snapshot r", "plain,restore"),
        ("memories replay s", "plain,stats"),
        ("memories put k - --ti", "plain,--tier"),
        ("memories put k - --tier w", "plain,warm"),
        ("memories dashboard --po", "plain,--port"),
    ):
        place = str(len(words.split()) - 1)
        offered = memories(_MEMORIES_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=place).stdout
        assert wanted in offered, words


def test_the_bash_script_is_one_that_bash_takes() -> None:
    script = memories("completion", "bash").stdout
    assert subprocess.run(["bash", "-n"], input=script, text=True, timeout=20).returncode == 0
