"""Where the dashboard may be served."""

from __future__ import annotations

import pytest

from memories.dashboard.launch import check_place
from memories.errors import InvalidValue


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "\udc80"])
def test_what_cannot_be_a_host_is_refused_with_its_name(host: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        check_place(host, 8999)
    said = str(caught.value)
    assert repr(host) in said
    assert "choose another host" in said
    assert said.encode("utf-8"), "it can be printed"
