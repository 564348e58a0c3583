"""The command line as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.support.command_line import memories


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
    assert {"status", "ls", "query", "get", "put", "rm", "down", "snapshot", "replay", "doctor"} <= set(names)
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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_completes(shell: str) -> None:
    done = memories("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_MEMORIES_COMPLETE" in done.stdout
    offered = memories(_MEMORIES_COMPLETE="bash_complete", COMP_WORDS="memories do", COMP_CWORD="1").stdout
    assert "plain,doctor" in offered


def test_the_bash_script_is_one_that_bash_takes() -> None:
    script = memories("completion", "bash").stdout
    assert subprocess.run(["bash", "-n"], input=script, text=True, timeout=20).returncode == 0
