"""Every command that looks at a cluster, as a process: output, --json, exit code, bad input, no cluster."""

from __future__ import annotations

import io
import os
import pty
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.command_line import MEMORIES, as_json, memories, memories_in_bytes, ok
from tests.support.live_cluster import BARE

from .conftest import Live

NEED_A_CLUSTER = [
    ("status",),
    ("ls",),
    ("query", "{}"),
    ("get", "k"),
    ("put", "k", "-"),
    ("rm", "k"),
    ("down", "--yes"),
    ("snapshot", "create"),
    ("snapshot", "restore", "s"),
    ("replay", "stats"),
    ("doctor", "--cluster"),
    ("declare-gone", "disk-1", "--yes"),
]


@pytest.fixture
def run(live: Live) -> Any:
    """A command on the live cluster."""

    def run_command(*arguments: str, stdin: bytes = b"", **environment: str) -> Any:
        words = (*arguments, "--name", live.name)
        return memories(*words, stdin=stdin, address=live.address, **environment)

    return run_command


def test_status_is_the_picture_of_the_cluster(run: Any, live: Live) -> None:
    snapshot = as_json(run("status", "--json"))
    assert snapshot["cluster"] == live.name
    assert snapshot["phase"] == "serving"
    assert {tier["tier"] for tier in snapshot["tiers"]} == {"hot", "warm", "cold"}
    assert sum(tier["keys"] for tier in snapshot["tiers"]) == snapshot["keys"]
    text = ok(run("status"))
    assert f"cluster '{live.name}': serving" in text
    for shown in ("hot", "warm", "cold", "52.4 MB", "105 MB", "(head)"):
        assert shown in text


def test_ls_lists_by_prefix_in_three_ways(run: Any) -> None:
    names = [f"features/{i}" for i in range(4)]
    assert ok(run("ls", "features/")).splitlines() == names
    assert ok(run("ls", "features/", "-0", "--limit", "2")) == "features/0\0features/1\0"
    documents = as_json(run("ls", "features/", "--json"))
    assert [d["key"] for d in documents] == names
    assert {d["tier"] for d in documents} == {"warm"}
    assert all(d["nbytes"] > 4000 and d["copies"] == 1 for d in documents)
    assert re.search(r"features/0\s+warm\s+4\.\d+ kB\s+1 ", ok(run("ls", "features/0", "--long")))
    assert ok(run("ls", "nothing begins so")) == ""


def test_query_filters_sorts_and_limits(run: Any) -> None:
    found = ok(run("query", '{"part": {"$gte": 1}}', "--sort", "-part", "--limit", "2"))
    assert found.splitlines() == ["features/3", "features/2"]
    documents = as_json(run("query", '{"split": "train"}', "--sort", "part", "--json"))
    assert [d["key"] for d in documents] == ["features/0", "features/1"]


@pytest.mark.parametrize("bad", ["{bad", "[1]", '{"$foo": 1}'])
def test_a_filter_that_cannot_be_is_a_wrong_call(run: Any, bad: str) -> None:
    done = run("query", bad)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_get_shows_text_arrays_and_tables(run: Any) -> None:
    assert ok(run("get", "notes")) == "zur Nacht\n"
    assert ok(run("get", "features/1")).startswith("# ndarray float32 100 x 10\n[[1000. 1001.")
    document = as_json(run("get", "features/1", "--rows", "1:3", "--json"))
    assert (document["dtype"], document["shape"]) == ("float32", [2, 10])
    assert document["value"][0] == [1010.0 + i for i in range(10)]
    table = as_json(run("get", "table", "--json"))
    assert table["value"] == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": None}]


def test_get_writes_files_that_other_programs_read(run: Any, live: Live, tmp_path: Path) -> None:
    expected = np.arange(2000, 3000, dtype=np.float32).reshape(100, 10)
    assert "float32 100 x 10" in ok(run("get", "features/2", str(tmp_path / "x.npy")))
    loaded = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert np.array_equal(loaded, expected)
    ok(run("get", "table", str(tmp_path / "t.parquet")))
    assert pq.read_table(tmp_path / "t.parquet").to_pydict() == {"a": [1, 2, 3], "b": ["x", "y", None]}
    words = ("get", "features/2", "-", "--format", "npy", "--name", live.name)
    done = memories_in_bytes(*words, address=live.address)
    assert done.returncode == 0
    assert np.array_equal(np.load(io.BytesIO(done.stdout)), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet", "x.npy"]


def test_a_value_that_the_format_cannot_hold_leaves_the_file_as_it_was(run: Any, tmp_path: Path) -> None:
    target = tmp_path / "x.npy"
    target.write_bytes(b"before")
    done = run("get", "table", str(target))
    assert done.returncode == 1
    assert "--format arrow" in done.stderr
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_put_takes_metadata_and_says_what_it_achieved(run: Any) -> None:
    words = ("put", "conf", "-", "--format", "json", "--tier", "cold", "--durable", "--json")
    receipt = as_json(run(*words, "-m", "run=7", "-m", "who=me", stdin=b'{"lr": 1}'))
    assert receipt["key"] == "conf"
    assert receipt["durable"] is True
    assert ok(run("query", '{"run": 7, "who": "me"}')) == "conf\n"
    assert as_json(run("get", "conf", "--json"))["value"] == {"lr": 1}
    assert as_json(run("rm", "conf", "--json")) == {"deleted": 1, "missing": []}


def test_a_file_with_pickled_objects_is_refused(run: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object))
    done = run("put", "evil", str(tmp_path / "evil.npy"))
    assert done.returncode == 1
    assert "pickled" in done.stderr
    assert run("get", "evil").returncode == 4


def test_a_file_that_is_not_what_its_name_says(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"no table")
    done = run("put", "bad", str(path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(path) in done.stderr


def test_rm_deletes_what_is_there_and_names_what_is_not(run: Any) -> None:
    ok(run("put", "tmp/a", "-", stdin=b"x"))
    done = run("rm", "tmp/a", "tmp/b")
    assert done.returncode == 4
    assert "'tmp/b'" in done.stderr
    assert "'tmp/a'" not in done.stderr
    assert run("get", "tmp/a").returncode == 4
    assert ok(run("rm", "--force", "tmp/a")) == ""


def test_rm_by_prefix_asks_first(run: Any) -> None:
    ok(run("put", "tmp/c", "-", stdin=b"x"))
    refused = run("rm", "--prefix", "tmp/")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert as_json(run("rm", "--prefix", "tmp/", "--yes", "--json")) == {"deleted": 1, "missing": []}


def test_snapshots_are_made_listed_and_restored(run: Any, live: Live, tmp_path: Path) -> None:
    home = {"MEMORIES_HOME": str(tmp_path)}
    made = as_json(run("snapshot", "create", "--description", "nightly", "--json", **home))
    assert Path(made["path"]).stat().st_size == made["bytes"]
    (listed,) = as_json(run("snapshot", "list", "--json", **home))
    assert (listed["id"], listed["description"]) == (made["id"], "nightly")
    assert "nightly" in ok(memories("snapshot", "list", "--name", live.name, **home))  # needs no cluster
    ok(run("rm", "notes"))
    restored = as_json(run("snapshot", "restore", made["id"], "--key", "notes", "--json", **home))
    assert restored == {"restored": ["notes"]}
    assert ok(run("get", "notes")) == "zur Nacht\n"


def test_a_snapshot_that_is_not_there_or_is_damaged(run: Any, tmp_path: Path) -> None:
    assert run("snapshot", "restore", "no-such").returncode == 4
    ok(run("snapshot", "create", str(tmp_path / "s")))
    assert run("snapshot", "restore", str(tmp_path / "s"), "--key", "no-such").returncode == 4
    whole = bytearray((tmp_path / "s").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "s").write_bytes(whole)
    done = run("snapshot", "restore", str(tmp_path / "s"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_snapshot_is_written_whatever_lies_in_its_folder(run: Any, live: Live, tmp_path: Path) -> None:
    folder = tmp_path / "snapshots" / live.name
    folder.mkdir(parents=True)
    (folder / "bad.memories").write_bytes(b"garbage" * 100)
    made = as_json(run("snapshot", "create", "--json", MEMORIES_HOME=str(tmp_path)))
    assert made["path"] == str(folder / f"{made['id']}.memories")
    assert Path(made["path"]).stat().st_size == made["bytes"]
    ok(run("snapshot", "create", str(tmp_path / ("x" * 255))))
    done = run("snapshot", "create", str(tmp_path / ("x" * 256)))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "too long" in done.stderr


def test_doctor_examines_a_cluster(run: Any) -> None:
    findings = {f["name"]: f for f in as_json(run("doctor", "--cluster", "--json"))}
    for name in ("coordinator", "nodes", "loops", "memory monitor", "disks", "object store", "token"):
        assert findings[name]["state"] in ("ok", "warning"), findings[name]
    assert findings["coordinator"]["fact"].startswith("serving")
    assert findings["nodes"]["fact"] == "1 in Ray, 1 of them with tiers"
    assert "nodes " in findings["loops"]["fact"]


def test_replay_stats_show_every_buffer_as_the_cluster_has_it(run: Any) -> None:
    buffers = {buffer["name"]: buffer for buffer in as_json(run("replay", "stats", "--json"))}
    assert sorted(buffers) == ["empty", "pong"]
    pong = buffers["pong"]
    assert (pong["kind"], pong["rows"], pong["capacity"]) == ("prioritized", 300, 1000)
    assert (pong["inserted"], pong["updated"]) == (300, 192)
    assert pong["sampled"] >= 192  # the sampler fetches ahead
    assert pong["samples_per_insert"] == pytest.approx(pong["sampled"] / 300)
    assert sum(shard["rows"] for shard in pong["shards"]) == 300
    assert sum(pong["priorities"]["counts"]) == 300
    assert (buffers["empty"]["kind"], buffers["empty"]["rows"]) == ("uniform", 0)
    (status,) = [b for b in as_json(run("status", "--json"))["replay"] if b["name"] == "pong"]
    assert {name: status[name] for name in ("rows", "inserted", "sampled", "updated", "nbytes")} == {
        name: pong[name] for name in ("rows", "inserted", "sampled", "updated", "nbytes")
    }
    text = ok(run("replay", "stats"))
    assert "replay buffer 'empty', uniform" in text
    assert "replay buffer 'pong', prioritized" in text
    assert re.search(r"rows: +300 of 1,000 \(30\.0%\)", text)
    assert re.search(r"inserted: +300 \(\d+ /s\), 0 repeated", text)
    assert re.search(r"priorities: +192 updated, 0 stale", text)
    assert re.search(r"^ +1 .* none .*\d+ +\d", text, re.MULTILINE), "the shards"


def test_replay_stats_of_one_buffer_and_of_one_that_is_not_there(run: Any) -> None:
    (pong,) = as_json(run("replay", "stats", "pong", "--json"))
    assert pong["name"] == "pong"
    text = ok(run("replay", "stats", "pong"))
    assert "'pong'" in text
    assert "'empty'" not in text
    for words in (("pang",), ("pong", "pang"), ("pang", "--json")):
        done = run("replay", "stats", *words)
        assert done.returncode == 4
        assert done.stdout == ""
        assert "no replay buffer 'pang'; the cluster has: empty, pong" in done.stderr


def test_replay_stats_of_a_cluster_without_buffers(live: Live) -> None:
    assert as_json(memories("replay", "stats", "--json", "--name", BARE, address=live.address)) == []
    assert "no replay buffers" in ok(memories("replay", "stats", "--name", BARE, address=live.address))
    done = memories("replay", "stats", "pong", "--name", BARE, address=live.address)
    assert done.returncode == 4
    assert "the cluster has: none" in done.stderr


def test_a_disk_that_is_not_away_cannot_be_declared_gone(run: Any) -> None:
    for disk in ("disk-none", "warm", ""):
        done = run("declare-gone", disk, "--yes", "--json")
        assert done.returncode == 2
        assert done.stdout == ""
        assert f"{disk!r} is no disk that is away; there are none" in done.stderr
    refused = run("declare-gone", "disk-none")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr


@pytest.mark.parametrize("words", NEED_A_CLUSTER, ids=" ".join)
def test_without_ray_a_command_says_so_and_starts_none(words: tuple[str, ...], tmp_path: Path) -> None:
    """`TMPDIR` keeps it from finding a Ray that some other test has left here."""
    done = memories(*words, address="127.0.0.1:1", TMPDIR=str(tmp_path))
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stdout == ""
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_in_a_ray_without_the_cluster_a_command_names_those_that_run(live: Live) -> None:
    done = memories("ls", "--name", "other", address=live.address)
    assert done.returncode == 3
    assert f"'{live.name}'" in done.stderr
    assert ok(memories("ls", "--name", live.name, address=live.address))


def test_ray_that_does_not_answer_is_given_up_and_a_person_sees_a_bar_meanwhile() -> None:
    """A Ray Client port that takes connections and says nothing; standard error is a terminal."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"ray://127.0.0.1:{silent.getsockname()[1]}"
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [str(MEMORIES), "status", "--address", address],
            stdout=subprocess.DEVNULL,
            stderr=follower,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(follower)
        seen, ends_s = b"", time.monotonic() + 60
        try:
            while b"joining cluster" not in seen:
                assert time.monotonic() < ends_s, seen
                seen += os.read(leader, 4096)
        finally:
            process.kill()
            process.wait(20)
            os.close(leader)


def test_what_commands_tell_a_person(run: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4)))
    assert ok(run("put", "told/x", str(tmp_path / "x.npy"), "-m", "told=1")) == (
        "told/x: ndarray float64 3 x 4, 1 copy\n"
    )
    durable = ok(run("put", "told/y", "-", "--durable", stdin=b"x"))
    assert durable == "told/y: bytes, 1 copy, on stable storage\n"
    assert re.search(r"^told/x +warm +\d+ B +1 ", ok(run("query", '{"told": 1}', "--long")), re.MULTILINE)
    snapshot = tmp_path / "snapshot"
    assert re.fullmatch(rf"{snapshot}: [\d.]+ kB\n", ok(run("snapshot", "create", str(snapshot))))
    restored = ok(run("snapshot", "restore", str(snapshot), "--key", "told/x", "--key", "told/y"))
    assert restored == "2 keys restored\n"
    assert ok(run("rm", "--prefix", "told/", "--yes")) == "2 keys deleted\n"
    doctor = ok(run("doctor", "--cluster"))
    assert re.search(r"coordinator: +serving", doctor)
    assert re.search(r"nodes: +1 in Ray, 1 of them with tiers", doctor)


def test_down_ends_the_cluster_and_leaves_ray(run: Any, live: Live) -> None:
    """The last test of this module: the others need the cluster."""
    assert ok(memories("down", "--name", BARE, "--yes", address=live.address)) == (
        f"cluster {BARE!r} has ended\n"
    )
    refused = run("down")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    ended = as_json(run("down", "--delete", "--yes", "--json"))
    assert ended["cluster"] == live.name
    assert ended["deleted"] is True
    done = run("status")
    assert done.returncode == 3
    assert "does not run" in done.stderr
