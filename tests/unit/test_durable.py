"""A file that is replaced is the old one or the new one, whatever happens, and nothing is left beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memories.durable import make_private_folder, replacing
from tests.support.photographs import Photographer, State


def look(folder: Path) -> State:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_kill_before_any_system_call_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    photographer = Photographer(folder, tmp_path / "album")
    photographer.allowed = ({}, {"file": b"new" * 9000})
    with photographer.at_work(), replacing(folder / "file") as file:
        file.write(b"new" * 9000)
    calls = [what.partition("(")[0] for _, what, _ in photographer.photographs]
    assert calls == ["fsync", "replace", "fsync"], "the bytes, the name, and the folder, in this order"
    photographer.develop(look)
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_an_error_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(TypeError), replacing(tmp_path / "file") as file:
        file.writelines([b"new", None])  # type: ignore[list-item]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "file"):
        pass


def test_a_private_folder_and_those_above_it_are_closed_to_others(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    before = os.umask(0o022)
    try:
        for _ in range(2):
            make_private_folder(shared / "a" / "b")
    finally:
        os.umask(before)
    modes = [oct(folder.stat().st_mode & 0o777) for folder in (shared, shared / "a", shared / "a" / "b")]
    assert modes == ["0o755", "0o700", "0o700"]
    (shared / "file").touch()
    with pytest.raises(FileExistsError):
        make_private_folder(shared / "file")


def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path) -> None:
    with replacing(tmp_path / ("x" * 255)) as file:
        file.write(b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new"]
    with pytest.raises(OSError, match="too long"), replacing(tmp_path / ("y" * 256)):
        pass
    assert [path.name[0] for path in tmp_path.iterdir()] == ["x"]
