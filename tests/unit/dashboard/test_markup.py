"""Whatever comes from outside can be put on a page."""

from __future__ import annotations

from memories.dashboard.markup import code, table, text


def test_keys_that_no_page_can_hold_are_written_as_escapes() -> None:
    assert text("<\ud800 ü>") == "&lt;\\ud800 ü&gt;"
    key = code("\udfff/key")
    assert "\\udfff/key" in key
    assert table(("key",), [(key,), ("\ud800",)], key="keys").encode("utf-8")
