"""Every code block of the seed documents runs as printed, in a process and a folder of its own.

A block is run between a `before` that gives the names which the document leaves undefined and an
`after` that checks what the document promises. Blocks of parts that do not exist yet are strict
expected failures. Where the documents are absent, there is nothing to run.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.seeds import SEEDS, Block, seed_blocks

BLOCKS = {block.id: block for block in seed_blocks()}

NOT_RUN = {
    "000-0-bash": "installs another project of that name from a public index",
    "000-2-bash": "installs another project of that name from a public index",
    "003-0-sh": "installs the reference from a host that asks for an ssh key",
}


@dataclass(frozen=True)
class Case:
    """How one block is run: blocks that come first, names it needs, what must hold, what it prints."""

    first: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    prints: tuple[str, ...] = ()
    missing: str = ""
    three_nodes: bool = False
    serves: bool = False
    """It runs until it is ended, in a checkout."""
    timeout_s: float = 120


ARRAYS = "import numpy as np\nlocation_data = imagery_data = np.arange(12.0).reshape(3, 4)\n"

CASES = {
    "000-1-bash": Case(),
    "000-3-python": Case(prints=(r"(?i)memory", r"(?i)swap")),
    "000-4-python": Case(prints=(r"\A16\n16\n16\n\Z",)),
    "000-5-python": Case(),
    "000-6-python": Case(
        first=("000-5-python",),
        after="assert len(batch) == 5",
        prints=(r"LoggerPlugin: Experience stored:", r"LoggerPlugin: Sampled a batch of 5 experiences"),
    ),
    "000-7-python": Case(
        first=("000-5-python", "000-6-python"),
        after="assert len(idxs) == len(batch) == len(weights) == 5",
        prints=(r"Importance sampling weights:",),
    ),
    "000-8-python": Case(after="import time; time.sleep(0.5); assert monitor_thread.is_alive()"),
    "000-9-bash": Case(serves=True),
    "001-0-python": Case(
        prints=(
            r"Data shape: \(1000, 1000\)",
            r"Hot memory usage: 0\.10%\nWarm memory usage: 0\.00%\nCold memory usage: 0\.00%",
        ),
    ),
    "001-2-python": Case(
        prints=(
            r"(Stored \d00MB array with key 'data_\d' in hot memory\n){5}",
            r"'data_0' is now in hot memory\n'data_1' is now in hot memory\n'data_2' is now in warm memory\n"
            r"'data_3' is now in warm memory\n'data_4' is now in warm memory",
        ),
    ),
    "001-4-python": Case(
        prints=(
            r"Snapshot size: 0\.3\d MB\nData was successfully cleared\nRestored from snapshot",
            r"Retrieved matrix_0, mean value: 0\.00\n",
            r"Retrieved matrix_4, mean value: (1\.9|2\.0)\d\n",
        ),
    ),
    "001-5-python": Case(
        after="assert os.path.getsize('memory_analytics.png') > 10_000\n"
        "assert len(analytics['timestamps']) == len(analytics['hit_rate']) > 3",
        before="import os",
    ),
    "001-6-python": Case(
        prints=(
            r"Successfully retrieved distributed data with shape \(10000, 10000\)",
            r"(Node .*Online.*\n){3}",
        ),
        three_nodes=True,
    ),
    "002-0-python": Case(before=ARRAYS, after="assert exists and np.array_equal(data, location_data)"),
    "002-1-python": Case(before=ARRAYS, prints=(r"Cold memory usage: [\d.]+%",)),
    "002-2-python": Case(
        before="import torch\nmodel_weights_tensor = torch.arange(6.0)",
        after="assert torch.equal(weights.cpu(), model_weights_tensor)",
    ),
    "002-3-python": Case(
        before="vector_data = {'ids': [1, 2], 'name': 'x'}",
        after="assert data == vector_data and metrics['entries'] == 1",
    ),
    "002-4-python": Case(
        before="import numpy as np\nhistorical_data = np.arange(20_000.0).reshape(2_000, 10)",
        after="assert np.array_equal(data, historical_data) and np.array_equal(header, historical_data[:1000])\n"
        "assert np.array_equal(cold_memory.retrieve('historical_data'), historical_data)",
    ),
    "002-5-python": Case(
        before="import numpy as np\narchive_data, archive_1, archive_2, archive_3 = (np.full(9, i) for i in range(4))",
        after="assert np.array_equal(data, archive_data)\n"
        "assert np.array_equal(glacier_memory.retrieve('archive_3'), archive_3)",
    ),
    "002-6-python": Case(
        after=textwrap.dedent("""
            import warnings
            from memories.core import ColdMemory, GlacierMemory, HotMemory, WarmMemory
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # no second GPU, perhaps none: said, and the CPU is used
                for make, config in ((HotMemory, hot_config), (WarmMemory, warm_config), (ColdMemory, cold_config)):
                    with make(**config) as tier:
                        tier.store("a", [1, 2])
                        assert tier.retrieve("a") == [1, 2]
            provider = glacier_config.pop("provider")
            GlacierMemory(provider=provider, config=glacier_config).close()
        """),
    ),
    "003-1-python": Case(after="assert len(memoria.engrams) in range(64, 97)"),
}


def test_every_block_is_run_or_named() -> None:
    if not BLOCKS:
        pytest.skip("the seed documents are not beside this checkout")
    texts = {name for name in BLOCKS if name.endswith("-text")}
    assert set(BLOCKS) == set(CASES) | set(NOT_RUN) | texts


def parameters() -> list[object]:
    return [
        pytest.param(block, marks=pytest.mark.xfail(strict=True, reason=case.missing) if case.missing else ())
        for name, case in CASES.items()
        if (block := BLOCKS.get(name))
    ]


@pytest.fixture
def three_nodes() -> Iterator[dict[str, str]]:
    """The environment of a process that finds three real raylets, with the names of the seed."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.three_nodes"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the three nodes did not start"
        yield {"RAY_ADDRESS": address}
        process.stdin.close()  # the sign to end
        process.wait(60)


@pytest.mark.skipif(not SEEDS.is_dir(), reason="the seed documents are not beside this checkout")
@pytest.mark.parametrize("block", parameters(), ids=lambda block: block.id)
def test_block_runs_as_printed(block: Block, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    case = CASES[block.id]
    more = request.getfixturevalue("three_nodes") if case.three_nodes else {}
    env = environment(tmp_path) | more
    if case.serves:
        serve(block, env)
        return
    done = (
        run_shell(block, tmp_path, env)
        if block.language == "bash"
        else run_python(block, case, tmp_path, env)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for pattern in case.prints:
        assert re.search(pattern, done.stdout), f"{pattern!r} is not in\n{done.stdout}\n{done.stderr}"


def run_python(
    block: Block, case: Case, folder: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    code = PROMISES.get(block.id, lambda text: text)(block.code)
    parts = [case.before, *(BLOCKS[name].code for name in case.first), code, case.after]
    script = folder / "block.py"
    script.write_text("\n".join(parts), encoding="utf-8")
    return subprocess.run(
        [sys.executable, script.name], cwd=folder, env=env, capture_output=True, text=True,
        timeout=case.timeout_s, check=False,
    )  # fmt: skip


def run_shell(block: Block, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-ec", block.code], cwd=folder, env=env, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def serve(block: Block, env: dict[str, str]) -> None:
    """The block answers on loopback, and on nothing else, until it is ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"STREAMLIT_SERVER_PORT": str(port), "STREAMLIT_SERVER_HEADLESS": "true"}
    process = subprocess.Popen(
        ["bash", "-ec", f"exec {block.code.strip()}"],
        cwd=Path(__file__).parents[2],
        env=env | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        ends_s = time.monotonic() + 90
        while True:
            assert process.poll() is None, process.communicate()[0]
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                    assert b"<title>" in page.read()
                break
            except OSError:
                assert time.monotonic() < ends_s, "it did not answer"
                time.sleep(0.1)
        listening = [c for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"]
        assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
    finally:
        process.terminate()
        process.communicate(timeout=30)


def environment(folder: Path) -> dict[str, str]:
    """A home of its own, no screen for plots, and this interpreter's programs first on the path."""
    home = folder / "home"
    home.mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"HOME": str(home), "MPLBACKEND": "Agg", "PATH": path}


def with_checked_sessions(code: str) -> str:
    """Turns each string that shows a session into a check of it, as far as it does not depend on chance."""
    checker = textwrap.dedent("""
        import doctest
        def _check(session):
            for example in doctest.DocTestParser().get_examples(session):
                if not example.want: continue
                shown = repr(eval(example.source))
                assert "".join(shown.split()) == "".join(example.want.split()), (example.source, shown, example.want)
    """)
    sessions = re.split(r'^"""(.*?)^"""\n', code, flags=re.MULTILINE | re.DOTALL)
    out = [checker]
    for index, text in enumerate(sessions):
        if index % 2 == 0:
            out.append(text)
            continue
        number = index // 2
        if number >= 4:  # from the second reminding on: only shapes and names of types are certain
            text = "\n".join(keep_certain(text))
        out.append(f"_check({text!r})\n")
    return "".join(out)


def keep_certain(session: str) -> list[str]:
    import doctest

    certain = ("reminded_memories.shape", "reminded_indices.shape", "EngramType")
    examples = doctest.DocTestParser().get_examples(session)
    return [f">>> {e.source}{e.want}" for e in examples if e.source.strip().startswith(certain)]


PROMISES = {"003-1-python": with_checked_sessions}
