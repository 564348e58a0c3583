"""Values as files: made by others, read by us, written by us, read by others; never a pickle."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from memories.cli.files import FORMATS, format_for, format_of, json_text, read_file, write_file
from memories.errors import CorruptData, InvalidType, PickleRefused

TABLE = pa.table({"n": [1, 2], "s": ["a", None]})


def write(path: Path, value: Any) -> None:
    write_file(str(path), value, format_of(str(path), None))


def read(path: Path) -> Any:
    return read_file(str(path), format_of(str(path), None))


@pytest.mark.parametrize("dtype", ["int16", "float64", "bool", "complex64", "<U3", "datetime64[s]"])
def test_npy(tmp_path: Path, dtype: str) -> None:
    value = np.zeros((2, 3), dtype)
    np.save(tmp_path / "a.npy", value)
    loaded = read(tmp_path / "a.npy")
    assert type(loaded) is np.ndarray
    write(tmp_path / "b.npy", loaded)
    again = np.load(tmp_path / "b.npy", allow_pickle=False)
    assert again.dtype == value.dtype
    assert np.array_equal(again, value)


def test_npy_takes_tensors_and_scalars(tmp_path: Path) -> None:
    write(tmp_path / "t.npy", torch.arange(6.0).reshape(2, 3))
    assert np.load(tmp_path / "t.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    write(tmp_path / "s.npy", 1.5)
    assert float(np.load(tmp_path / "s.npy")) == 1.5
    with pytest.raises(InvalidType, match="float32"):
        write(tmp_path / "b.npy", torch.ones(2, dtype=torch.bfloat16))
    assert not (tmp_path / "b.npy").exists()


def test_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3), y=np.array([True, False]))
    write(tmp_path / "b.npz", read(tmp_path / "a.npz"))
    with np.load(tmp_path / "b.npz") as arrays:
        assert sorted(arrays.files) == ["x", "y"]
        assert arrays["y"].tolist() == [True, False]
    with pytest.raises(InvalidType):
        write(tmp_path / "c.npz", [1, 2])


@pytest.mark.parametrize("suffix", [".parquet", ".pq", ".arrow", ".feather"])
def test_tables(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / f"t{suffix}", TABLE)
    opened = pq.read_table(tmp_path / f"t{suffix}") if "p" in suffix else None
    assert (opened or pa.ipc.open_file(str(tmp_path / f"t{suffix}")).read_all()).equals(TABLE)
    assert read(tmp_path / f"t{suffix}").equals(TABLE)


def test_arrow_streams_are_read_as_well(tmp_path: Path) -> None:
    with pa.ipc.new_stream(str(tmp_path / "t.arrow"), TABLE.schema) as writer:
        writer.write_table(TABLE)
    assert read(tmp_path / "t.arrow").equals(TABLE)


def test_frames_become_tables(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write(tmp_path / "f.parquet", pandas.DataFrame({"a": [1, 2]}))
    assert pq.read_table(tmp_path / "f.parquet").to_pydict() == {"a": [1, 2]}


def test_json(tmp_path: Path) -> None:
    value = {"lr": 0.001, "layers": [64, 64], "name": "ü", "none": None}
    (tmp_path / "a.json").write_text(json.dumps(value), encoding="utf-8")
    assert read(tmp_path / "a.json") == value
    write(tmp_path / "b.json", {"a": np.arange(3), "t": torch.ones(2), "x": np.float32(1), "u": (1, "ü")})
    written = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert written == {"a": [0, 1, 2], "t": [1.0, 1.0], "x": 1.0, "u": [1, "ü"]}
    with pytest.raises(InvalidType):
        write(tmp_path / "c.json", {1: 2})
    with pytest.raises(InvalidType):
        write(tmp_path / "c.json", object())


def test_text_and_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "ein\nzwei ü")
    assert read(tmp_path / "a.txt") == "ein\nzwei ü"
    write(tmp_path / "a.bin", bytes(range(256)))
    assert read(tmp_path / "a.bin") == bytes(range(256))
    assert read_file(str(tmp_path / "a.bin"), format_of("no suffix", None)) == bytes(range(256))
    with pytest.raises(InvalidType, match="--format npy"):
        write(tmp_path / "b.txt", np.ones(2))


@pytest.mark.parametrize("name", ["evil.npy", "evil.npz"])
def test_pickled_objects_are_refused(tmp_path: Path, name: str) -> None:
    value = np.array([{"a": 1}], dtype=object)
    if name.endswith("npy"):
        np.save(tmp_path / name, value)
    else:
        np.savez(tmp_path / name, x=value)
    with pytest.raises(PickleRefused, match=name):
        read(tmp_path / name)
    with pytest.raises(InvalidType, match="pickle"):
        write(tmp_path / "out.npy", value)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.parquet", "x.arrow", "x.json", "x.txt"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe no such thing", b"\x80\x04K\x01."])
def test_what_is_none_of_the_format_is_said_to_be(tmp_path: Path, name: str, content: bytes) -> None:
    if name == "x.txt":
        content = b"\xff" + content  # the empty text is a text
    (tmp_path / name).write_bytes(content)
    with pytest.raises((CorruptData, PickleRefused), match=name):
        read(tmp_path / name)


def test_a_failed_write_leaves_the_file_and_the_folder_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"before")
    with pytest.raises(InvalidType):
        write(tmp_path / "x.npy", TABLE)
    assert (tmp_path / "x.npy").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_every_value_has_a_format_that_holds_it() -> None:
    values = [np.ones(2), torch.ones(2), TABLE, "text", b"bytes", {"a": [1]}, 1, None]
    names = ["npy", "npy", "arrow", "text", "bytes", "json", "json", "json"]
    for value, name in zip(values, names, strict=True):
        form = format_for(value)
        assert form.name == name
        form.write(value, io.BytesIO())
    assert set(names) <= set(FORMATS)


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    pipe, seen = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: seen.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert write_file(str(pipe), b"x" * 100_000, FORMATS["bytes"]) == 100_000
    reader.join(20)
    assert seen == [b"x" * 100_000]
    assert pipe.is_fifo()


def test_what_the_shell_calls_a_file_may_be_a_pipe() -> None:
    """`memories get KEY >(program)` names /dev/fd/63, of which there is no real path."""
    end, start = os.pipe()
    try:
        assert write_file(f"/dev/fd/{start}", "text", FORMATS["text"]) == 4
        assert os.read(end, 10) == b"text"
    finally:
        os.close(start)
        os.close(end)


def test_a_link_stays_a_link_and_a_secret_a_secret(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    real = tmp_path / "folder" / "real.txt"
    real.write_text("old")
    real.chmod(0o600)
    (tmp_path / "link.txt").symlink_to(real)
    write(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in real.parent.iterdir()] == ["real.txt"]


def test_a_file_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    write(tmp_path / ("x" * 251 + ".txt"), "text")
    with pytest.raises(OSError, match="too long"):
        write(tmp_path / ("x" * 252 + ".txt"), "text")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]


def test_several_arrays_are_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    for source in (tmp_path / "x.npy", io.BytesIO((tmp_path / "x.npy").read_bytes())):
        with pytest.raises(CorruptData, match="read it as npz"):
            FORMATS["npy"].read(source)


def test_arrays_may_have_the_names_of_arguments(tmp_path: Path) -> None:
    value = {name: np.full(2, n) for n, name in enumerate(("file", "allow_pickle", "self", "a/b"))}
    write(tmp_path / "x.npz", value)
    loaded = read(tmp_path / "x.npz")
    assert {name: part.tolist() for name, part in loaded.items()} == {k: v.tolist() for k, v in value.items()}


@pytest.mark.parametrize("names", [("a", "a.npy"), ("a.npy", "a"), ("a\0b",), ("a\ud800",)])
def test_names_that_a_zip_file_cannot_keep_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(InvalidType):
        write(tmp_path / "x.npz", dict.fromkeys(names, np.ones(2)))
    assert list(tmp_path.iterdir()) == []


NO_JSON = [
    {"loss": float("nan")},
    np.array([1, np.inf]),
    np.array(["2026-01-01"], "datetime64[s]"),
    np.array(["2026-01-01"], "datetime64[ns]"),
    np.datetime64("2026-01-01"),
    np.array([1j]),
    np.array([b"a"]),
    np.zeros(1, [("a", "i4"), ("b", "S2")]),
    np.array([1.0], np.longdouble),
    np.longdouble(1),
    pa.table({"t": [datetime.datetime(2026, 1, 1)]}),
    pa.table({"t": [b"x"]}),
    pa.table({"t": [decimal.Decimal("1.2")]}),
    pa.table({"t": pa.array([10**18], pa.date64())}),
    pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
    [10**5000],
]


@pytest.mark.parametrize("value", NO_JSON, ids=lambda value: f"{type(value).__name__}")
def test_what_json_does_not_know_is_said(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InvalidType):
        write(tmp_path / "x.json", value)
    with pytest.raises(InvalidType):
        json_text({"value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_arrow_cannot_hold_is_said(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    for name in ("x.parquet", "x.arrow", "x.json"):
        with pytest.raises(InvalidType, match="Arrow"):
            write(tmp_path / name, pandas.DataFrame({"a": [1, "x"]}))
    assert list(tmp_path.iterdir()) == []


def test_half_a_character_is_text_for_json_alone(tmp_path: Path) -> None:
    for name in ("x.txt", "x.bin"):
        with pytest.raises(InvalidType, match="--format json"):
            write(tmp_path / name, "ab\ud800")
    write(tmp_path / "x.json", "ü\ud800")
    assert (tmp_path / "x.json").read_bytes() == b'"\xc3\xbc\\ud800"\n'
    assert read(tmp_path / "x.json") == "ü\ud800"


def test_damaged_archives_and_deep_documents_are_said_to_be(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.arange(500))
    whole = (tmp_path / "x.npz").read_bytes()
    directory = whole.rindex(b"PK\x01\x02")
    for at in (100, 120, directory, directory + 10):  # the data, the directory's beginning, the method
        damaged = bytearray(whole)
        damaged[at] ^= 255
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(CorruptData, match=r"x\.npz"):
            read(tmp_path / "x.npz")
    (tmp_path / "x.json").write_text("[" * 100_000 + "]" * 100_000)
    with pytest.raises(CorruptData, match=r"x\.json"):
        read(tmp_path / "x.json")
