"""A view comes back from the log as it was written."""

from __future__ import annotations

from memories.actors.core.model import MemberInfo, View
from memories.actors.view_log import _pack, _unpack


def test_a_view_is_the_same_after_the_log() -> None:
    info = MemberInfo("n1/cold", "n1", "cold", 3, durable=True, capacity_bytes=10, highest_epoch=2)
    view = View(4, 2, "me", (info,), ("n2/cold",), ("n3/cold",), ("n1/cold",))
    assert _unpack(_pack(view)) == view
