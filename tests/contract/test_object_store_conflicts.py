"""Against real servers: what was read is changed or removed only where nobody has replaced it since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from memories.errors import ConflictingWrite
from memories.tiers.glacier.objects import ObjectGone
from memories.tiers.glacier_memory import GlacierMemory
from tests.support.clock import ManualClock
from tests.support.glacier_cases import server

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("provider", ["s3", "gcs", "azure"])]

INTEGERS = np.arange(4, dtype=np.int64)
FLOATS = INTEGERS + 0.5


@pytest.fixture
def open_memory(request: pytest.FixtureRequest, provider: str) -> Iterator[Callable[..., GlacierMemory]]:
    memories: list[GlacierMemory] = []
    prefix = request.node.name.replace("[", "-").replace("]", "")

    def open_one(**arguments: Any) -> GlacierMemory:
        config = {**server(provider).config, "prefix": prefix}
        memories.append(GlacierMemory(provider, config, **arguments))
        return memories[-1]

    yield open_one
    for memory in memories:
        memory.close()


def overtake(memory: GlacierMemory, name: str, act: Callable[[], object]) -> None:
    """Have something happen just before the next call of a method of the memory's store."""
    method = getattr(memory._glacier, name)

    def overtaken(*arguments: Any) -> Any:
        setattr(memory._glacier, name, method)
        act()
        return method(*arguments)

    setattr(memory._glacier, name, overtaken)


def test_an_object_is_deleted_only_under_its_tag(open_memory: Any, provider: str) -> None:
    store = open_memory()._glacier._store
    first = store.put("object", [memoryview(b"1")], None)
    second = store.put("object", [memoryview(b"2")], None)
    if provider != "gcs":  # whose emulator overlooks the condition of a deletion
        with pytest.raises(ConflictingWrite):
            store.delete_if("object", first)
        assert bytes(store.read("object", 9).data) == b"2"
    store.delete_if("object", second)
    with pytest.raises(ObjectGone):
        store.read("object", 9)
    store.delete_if("object", second)


def test_a_change_is_for_the_value_that_is_there(open_memory: Any) -> None:
    mine, theirs = open_memory(), open_memory()
    mine.store("k", INTEGERS, metadata={"v": 1})
    overtake(mine, "update_found", lambda: theirs.store("k", FLOATS, metadata={"v": 2}))
    assert mine.pin("k").metadata == {"v": 2}
    assert theirs.entry("k").pinned
    assert np.array_equal(theirs.retrieve("k"), FLOATS)


def test_expiry_leaves_what_another_process_stored(open_memory: Any) -> None:
    clock = ManualClock()
    mine, theirs = open_memory(clock=clock), open_memory(clock=clock)
    mine.store("k", "old", ttl=5)
    clock.advance(10)
    overtake(mine, "remove_found", lambda: theirs.store("k", "fresh"))
    assert mine.expire() == 0
    assert mine.retrieve("k") == theirs.retrieve("k") == "fresh"
    mine.store("k", "old", ttl=5)
    clock.advance(10)
    assert mine.expire() == 1
    assert not theirs.exists("k")
