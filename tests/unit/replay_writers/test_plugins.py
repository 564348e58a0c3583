from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

from memories.errors import InvalidType
from memories.replay.plugins import MemoryPlugin, PluginManager


class Recorder(MemoryPlugin):
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_experience_stored(self, experience: Any) -> None:
        self.heard.append(("stored", experience))

    def on_sample(self, batch: Any) -> None:
        self.heard.append(("sampled", batch))


class Broken(MemoryPlugin):
    __hash__ = None  # type: ignore[assignment]  # as of a class with __eq__ of its own

    def on_sample(self, batch: Any) -> None:
        raise RuntimeError("out of order")


def test_plugins_hear_events_in_the_order_of_registration() -> None:
    manager, order = PluginManager(), []

    class Named(MemoryPlugin):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_sample(self, batch: Any) -> None:
            order.append(self.name)

    for name in "abc":
        manager.register_plugin(Named(name))
    manager.sampled([1])
    assert order == ["a", "b", "c"]


def test_a_failing_plugin_is_reported_with_its_traceback_and_stops_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager, broken, recorder = PluginManager(), Broken(), Recorder()
    manager.register_plugin(broken)
    manager.register_plugin(recorder)
    with caplog.at_level(logging.ERROR):
        for _ in range(10):
            manager.sampled("batch")
    assert recorder.heard == [("sampled", "batch")] * 10
    assert manager.failures(broken) == 10
    assert manager.failures(recorder) == 0
    assert len(caplog.records) == 4  # failures 1, 2, 4 and 8
    assert "out of order" in caplog.text
    assert "on_sample" in caplog.text


def test_registering_twice_and_unregistering() -> None:
    manager, recorder = PluginManager(), Recorder()
    manager.register_plugin(recorder)
    manager.register_plugin(recorder)
    manager.experience_stored("x")
    assert recorder.heard == [("stored", "x")]
    assert manager.unregister_plugin(recorder)
    assert not manager.unregister_plugin(recorder)
    manager.experience_stored("y")
    assert recorder.heard == [("stored", "x")]


def test_only_plugins_are_taken() -> None:
    with pytest.raises(InvalidType, match="instance, not the class"):
        PluginManager().register_plugin(Recorder)  # type: ignore[arg-type]
    with pytest.raises(InvalidType):
        PluginManager().register_plugin(print)  # type: ignore[arg-type]


def test_a_plugin_may_unregister_itself_while_it_is_called() -> None:
    manager, heard = PluginManager(), []

    class Once(MemoryPlugin):
        def on_sample(self, batch: Any) -> None:
            heard.append(batch)
            manager.unregister_plugin(self)

    manager.register_plugin(Once())
    manager.sampled(1)
    manager.sampled(2)
    assert heard == [1]


def test_a_manager_survives_pickling() -> None:
    manager = PluginManager()
    manager.register_plugin(Recorder())
    again = pickle.loads(pickle.dumps(manager))
    again.sampled(1)
    assert again.plugins[0].heard == [("sampled", 1)]
