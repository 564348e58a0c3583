"""Plugins: code of the user's that hears what happens to a buffer."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

from ..errors import InvalidType
from .living import note_manager

logger = logging.getLogger(__name__)


class MemoryPlugin:
    """Override what you want to hear of. The methods are called by the thread that uses the buffer,
    after the buffer has changed; a slow plugin makes that call slow, a failing one does not break it.

    Examples:
        >>> from memories.replay import ExperienceReplay
        >>> class Count(MemoryPlugin):
        ...     stored = 0
        ...     def on_experience_stored(self, experience):
        ...         self.stored += 1
        >>> plugins, count = PluginManager(), Count()
        >>> plugins.register_plugin(count)
        >>> ExperienceReplay(capacity=10, plugin_manager=plugins).store([0], 0, 1.0, [1], False)
        >>> count.stored
        1
    """

    def on_experience_stored(self, experience: Any) -> None:
        """An experience was stored: a named tuple (state, action, reward, next_state, done)."""

    def on_sample(self, batch: Any) -> None:
        """A batch was sampled: a list of experiences."""

    def on_priorities_updated(self, indices: Any, priorities: Any) -> None:
        """Priorities were set; both are arrays of the same length."""


class PluginManager:
    """Passes events to plugins, in the order in which they were registered. Thread-safe.

    A plugin that raises is reported through `logging` with its traceback and counted in `failures`;
    neither the other plugins nor the buffer notice. A plugin that goes on failing is reported at its
    1st, 2nd, 4th, 8th, ... failure, so that it cannot flood the log.

    Examples:
        >>> plugins = PluginManager()
        >>> plugin = MemoryPlugin()
        >>> plugins.register_plugin(plugin)
        >>> plugins.failures(plugin)
        0
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plugins: tuple[MemoryPlugin, ...] = ()
        self._failures: Counter[int] = Counter()  # by id: a plugin need not be hashable
        note_manager(self)

    @property
    def plugins(self) -> tuple[MemoryPlugin, ...]:
        return self._plugins

    def failures(self, plugin: MemoryPlugin) -> int:
        """How often this plugin has raised."""
        with self._lock:
            return self._failures[id(plugin)]

    def register_plugin(self, plugin: MemoryPlugin) -> None:
        """Add a plugin behind the others; one that is registered already stays where it is."""
        given: object = plugin
        if not isinstance(given, MemoryPlugin):
            hint = " Pass an instance, not the class." if isinstance(given, type) else ""
            raise InvalidType(f"A plugin is an instance of a MemoryPlugin subclass; got {given!r}.{hint}")
        with self._lock:
            if all(plugin is not known for known in self._plugins):
                self._plugins = (*self._plugins, plugin)

    def unregister_plugin(self, plugin: MemoryPlugin) -> bool:
        """Remove a plugin; tells whether it was registered."""
        with self._lock:
            kept = tuple(known for known in self._plugins if known is not plugin)
            removed = len(kept) < len(self._plugins)
            self._plugins = kept
            del self._failures[id(plugin)]
            return removed

    def experience_stored(self, experience: Any) -> None:
        self._notify("on_experience_stored", experience)

    def sampled(self, batch: Any) -> None:
        self._notify("on_sample", batch)

    def priorities_updated(self, indices: Any, priorities: Any) -> None:
        self._notify("on_priorities_updated", indices, priorities)

    def _notify(self, event: str, *arguments: Any) -> None:
        for plugin in self._plugins:  # the tuple is replaced, never changed: no lock while plugins run
            try:
                getattr(plugin, event)(*arguments)
            except Exception:  # whatever it is, it is the plugin's and must stop here
                with self._lock:
                    self._failures[id(plugin)] += 1
                    count = self._failures[id(plugin)]
                if count & (count - 1) == 0:
                    name = type(plugin).__name__
                    logger.exception("Plugin %s failed in %s (failure %d)", name, event, count)

    def __getstate__(self) -> dict[str, Any]:
        return {"plugins": self._plugins}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self._plugins = state["plugins"]
