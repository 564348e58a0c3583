"""Retries with growing, jittered pauses end at the attempts or the deadline, whichever is first."""

from __future__ import annotations

import pytest

from memories.errors import ConflictingWrite, DeadlineExceeded, InvalidValue, Unavailable
from memories.tiers.glacier.retry import Retry


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def retry(self, **settings: float) -> Retry:
        return Retry(
            clock=lambda: self.now,
            sleep=self.sleep,
            uniform=lambda low, high: high,
            **settings,  # type: ignore[arg-type]
        )


class Flaky:
    """Fails so many times, each taking some time, and then succeeds."""

    def __init__(self, failures: int, time: Time, takes_s: float = 0.0) -> None:
        self.left, self.time, self.takes_s, self.calls = failures, time, takes_s, 0

    def __call__(self) -> str:
        self.calls += 1
        self.time.now += self.takes_s
        if self.left:
            self.left -= 1
            raise Unavailable("503")
        return "done"


def test_pauses_double_up_to_the_cap() -> None:
    time = Time()
    assert time.retry(base_s=0.1, cap_s=1.0).call(Flaky(6, time), "a request") == "done"
    assert time.pauses == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0, 1.0])


def test_pauses_are_jittered_from_zero() -> None:
    asked: list[tuple[float, float]] = []
    time = Time()
    retry = Retry(
        clock=lambda: 0.0, sleep=time.sleep, uniform=lambda low, high: asked.append((low, high)) or low
    )
    retry.call(Flaky(2, time), "a request")
    assert asked == [(0.0, 0.2), (0.0, 0.4)]
    assert time.pauses == [0.0, 0.0]


def test_attempts_run_out() -> None:
    time = Time()
    flaky = Flaky(99, time)
    with pytest.raises(Unavailable, match=r"reading x failed 3 times .* 503"):
        time.retry(max_attempts=3).call(flaky, "reading x")
    assert flaky.calls == 3


def test_the_deadline_passes_before_the_attempts_do() -> None:
    time = Time()
    flaky = Flaky(99, time, takes_s=20.0)
    with pytest.raises(DeadlineExceeded, match=r"within 50 s \(3 attempts\)"):
        time.retry(max_attempts=8, deadline_s=50.0, base_s=1.0).call(flaky, "reading x")
    assert time.now - 100.0 < 75.0, "no pause may go beyond the deadline"


def test_other_errors_are_raised_at_once() -> None:
    def conflicts() -> None:
        raise ConflictingWrite("somebody else")

    time = Time()
    with pytest.raises(ConflictingWrite):
        time.retry().call(conflicts, "writing")
    assert time.pauses == []


@pytest.mark.parametrize("settings", [{"max_attempts": 0}, {"deadline_s": 0.0}, {"base_s": -1.0}])
def test_impossible_settings(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidValue):
        Retry(**settings)  # type: ignore[arg-type]
