"""Where a reader looks before it has been told where to look."""

from __future__ import annotations

from memories.actors.guesses import KEYS_KEPT, TRY_EVERY, Guesses
from memories.tiers.record import Version

WARM, COLD = ("n1/warm", 1), ("disk-1/cold", 1)


def test_nothing_is_guessed_before_the_first_read() -> None:
    assert Guesses().of("a") is None


def test_a_key_is_looked_for_where_it_was_and_others_where_the_last_one_was() -> None:
    guesses = Guesses()
    guesses.found("a", WARM)
    guesses.found("b", COLD)
    assert guesses.of("a") == (WARM, None)
    assert guesses.of("new") == (COLD, None)


def test_guesses_about_unknown_keys_stop_when_they_do_not_pay_and_begin_again_when_they_do() -> None:
    guesses = Guesses()
    for i in range(40):
        guesses.found(f"key/{i}", (WARM, COLD)[i % 2])  # never where the one before was
    asked = sum(guesses.of(f"new/{i}") is not None for i in range(10 * TRY_EVERY))
    assert asked == 10
    assert guesses.of("key/0") == (WARM, None)  # of this one it is known
    for i in range(40):
        guesses.found(f"again/{i}", WARM)
    assert guesses.of("another") == (WARM, None)


def test_a_member_that_does_not_answer_guesses_about_a_key_is_not_asked_again_while_it_is_there() -> None:
    guesses = Guesses()
    guesses.found("a", WARM)
    guesses.unanswered("a")
    guesses.found("a", WARM)
    assert guesses.of("a") is None
    assert guesses.of("b") == (WARM, None)
    guesses.found("a", COLD)
    assert guesses.of("a") == (COLD, None)


def test_where_a_member_leads_to_memory_the_same_version_is_asked_for_while_the_key_is_there() -> None:
    guesses = Guesses()
    guesses.found("a", WARM)
    guesses.unanswered("a")
    guesses.led_to_memory("a", Version(1, 5))
    guesses.found("a", WARM)
    assert guesses.of("a") == (WARM, Version(1, 5))
    guesses.led_to_memory("a", Version(1, 6))
    assert guesses.of("a") == (WARM, Version(1, 6))
    guesses.found("a", COLD)
    assert guesses.of("a") == (COLD, None)


def test_what_is_remembered_is_bounded() -> None:
    guesses = Guesses()
    for i in range(KEYS_KEPT + 1):
        guesses.found(f"key/{i}", COLD)
    guesses.found("last", WARM)
    assert guesses.of("key/0") == (WARM, None)  # forgotten: as for any other key
    assert guesses.of(f"key/{KEYS_KEPT}") == (COLD, None)
