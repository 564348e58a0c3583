"""`--seeds N` runs N seeds instead of the number that each simulation test has."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=None, help="how many seeds each simulation test runs")


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> int | None:
    """The number that was given, or None."""
    number: int | None = request.config.getoption("--seeds", default=None)
    return number
