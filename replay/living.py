"""Which buffers and plugins this process has, for whoever looks at it from inside (the dashboard)."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .buffer_core import BufferCore
    from .plugins import PluginManager

_lock = threading.Lock()
_buffers: weakref.WeakSet[BufferCore] = weakref.WeakSet()
_managers: weakref.WeakSet[PluginManager] = weakref.WeakSet()


def note_buffer(buffer: BufferCore) -> None:
    """A buffer was made. It is not kept alive."""
    with _lock:
        _buffers.add(buffer)


def note_manager(manager: PluginManager) -> None:
    """A plugin manager was made. It is not kept alive."""
    with _lock:
        _managers.add(manager)


def living_buffers() -> list[BufferCore]:
    """The buffers that are in use, in no order that means anything."""
    with _lock:
        return list(_buffers)


def living_managers() -> list[PluginManager]:
    """The plugin managers that are in use, in no order that means anything."""
    with _lock:
        return list(_managers)
