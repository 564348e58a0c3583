"""Values as files: made by others, read by us, written by us, read by others; never a pickle."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from memories.cli.files import FORMATS, format_for, format_of, read_file, write_file
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
