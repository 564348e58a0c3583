"""Ray's files go where the names of its sockets fit."""

from __future__ import annotations

import pytest

from memories.actors.ray_folder import LONGEST_SOCKET, SHORT_FOLDER, short_ray_folder


@pytest.fixture(autouse=True)
def linux_without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)


def of_length(count: int) -> str:
    """A folder such that its "ray" and the longest socket in that have this many bytes."""
    return "/" + "x" * (count - len(LONGEST_SOCKET) - len("/ray") - 1)


def test_the_usual_folder_will_do() -> None:
    assert short_ray_folder() is None


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_one_is_left_for_a_short_one(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, of_length(107))
    assert short_ray_folder() is None
    monkeypatch.setenv(variable, of_length(108))
    assert short_ray_folder() == SHORT_FOLDER


def test_bytes_count_not_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/ä" + of_length(106)[2:])
    assert short_ray_folder() is None
    monkeypatch.setenv("TMPDIR", "/ä" + of_length(107)[2:])
    assert short_ray_folder() == SHORT_FOLDER


def test_the_short_one_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", SHORT_FOLDER.removesuffix("/ray"))
    assert short_ray_folder() is None
