"""Commands as far as they get without a cluster: arguments, questions, and how they show things."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from memories.actors.status import Snapshot, TierStatus
from memories.cli import main, status, values
from memories.cli.group import FAILED, INTERRUPTED, LazyCommands
from memories.cli.output import duration_text, size_text, write_json, write_table
from memories.cli.target import confirm

HUGE = "9" * 5000
SURROGATE = "ü\ud800"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("query", f'{{"a": {HUGE}}}'), "is not JSON"),
        (("query", "[" * 100_000), "is not JSON"),
        (("put", "k", "-", "-m", f"a={HUGE}"), "--metadata"),
        (("put", "k", "-", "-m", "a=" + "[" * 100_000), "--metadata"),
        (("status", "--timeout", "nan"), "nan is not in the range"),
        (("status", "--timeout", "inf"), "inf is not in the range"),
        (("status", "--timeout", "1e300"), "is not in the range"),
        (("rm", "--prefix", ""), "the empty prefix"),
        (("rm", "k", "--prefix", ""), "the empty prefix"),
        (("demo", "--seed", "-1"), "is not in the range"),
        (("demo", "--seed", str(2**64)), "is not in the range"),
    ],
    ids=lambda part: " ".join(part)[:30] if isinstance(part, tuple) else "",
)
def test_a_wrong_call_says_what_is_wrong(words: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert len(done.output) < 1000


@pytest.mark.parametrize(
    ("answer", "code"), [(KeyboardInterrupt, INTERRUPTED), (EOFError, FAILED), ("n", FAILED), ("y", 0)]
)
def test_ctrl_c_at_a_question_is_no_no(monkeypatch: pytest.MonkeyPatch, answer: Any, code: int) -> None:
    def answered(_: str) -> str:
        if isinstance(answer, str):
            return answer
        raise answer

    group = LazyCommands(name="test", modules={})
    group.add_command(click.Command("ask", callback=lambda: confirm("Sure?", yes=False)))
    monkeypatch.setattr(click.termui, "visible_prompt_func", answered)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(SystemExit) as ended:
        group.main(["ask"])
    assert ended.value.code == code


def test_a_tier_without_a_limit_has_no_budget(capsys: pytest.CaptureFixture[str]) -> None:
    tiers = (
        TierStatus("n/cold", "cold", "n", 1, 250, 1000, True),
        TierStatus("g", "glacier", "n", 1, 5, 1 << 62, True),
    )
    status._write(Snapshot(cluster="c", taken_s=0.0, tiers=tiers))
    glacier, cold = (
        line for line in capsys.readouterr().out.splitlines() if line.startswith(("cold", "glacier"))
    )
    assert "1 kB" in cold
    assert "25.0%" in cold
    assert "no limit" in glacier
    assert "%" not in glacier


def test_half_a_character_can_be_shown(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_json([SURROGATE])
    assert json.loads(capsysbinary.readouterr().out) == [SURROGATE]
    click.echo(values._document(SURROGATE, SURROGATE))
    document = json.loads(capsysbinary.readouterr().out)
    assert (document["key"], document["value"]) == (SURROGATE, SURROGATE)
    write_table("", ("key",), [(SURROGATE,)])
    assert "ü\\ud800" in capsysbinary.readouterr().out.decode()
    values._show(SURROGATE)
    assert capsysbinary.readouterr().out.decode() == "ü\\ud800\n"


def test_a_value_that_json_does_not_know_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        values._document("k", {"loss": float("nan")})
    assert ended.value.code == FAILED
    assert "JSON knows no nan" in capsys.readouterr().err
    assert json.loads(values._document("k", b"ab")) == {
        "key": "k",
        "type": "bytes",
        "encoding": "base64",
        "value": "YWI=",
    }


def test_sizes_and_durations_are_rounded_before_their_unit_is_chosen() -> None:
    sizes = {
        0: "0 B",
        999: "999 B",
        999.7: "1 kB",
        12_345: "12.3 kB",
        999_600: "1 MB",
        2e15: "2 PB",
        4.6e18: "4,600 PB",
    }
    assert {nbytes: size_text(nbytes) for nbytes in sizes} == sizes
    durations = {
        -1: "0 s", 59.4: "59 s", 59.7: "1 min", 119: "1.98 min", 3580: "59.7 min", 3599: "1 h", 86_399: "1 d",
        123_456: "1.43 d", 1200 * 86_400: "1,200 d",
    }  # fmt: skip
    assert {seconds: duration_text(seconds) for seconds in durations} == durations
