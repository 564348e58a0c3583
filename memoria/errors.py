"""Every error that the network raises on purpose.

Each class has `MemoriaError` as a base and the standard class that people expect beside it, so both
``except MemoriaError`` and ``except ValueError`` work. A call that raises one of these has changed
nothing.
"""

from __future__ import annotations


class MemoriaError(Exception):
    """Base of all errors of this package."""


class InvalidArgument(MemoriaError, ValueError):
    """A value that cannot be used: a size of 0, NaN data, an unknown mode."""


class InvalidShape(MemoriaError, ValueError):
    """A tensor of the wrong rank or size."""


class InvalidType(MemoriaError, TypeError):
    """An argument of a type (or a tensor of a dtype) that cannot be taken."""


class IndexOutOfRange(MemoriaError, IndexError):
    """An index that names no engram; the valid ones are -1 ("none") to the number of slots minus one."""


class NoWorkingMemory(MemoriaError, RuntimeError):
    """There is nothing to be reminded by: `add_working_memory` comes first."""


class InvalidState(MemoriaError, ValueError):
    """A saved state that does not fit this network, or a file that is not a saved state."""


class UnknownEngram(MemoriaError, KeyError):
    """The history has no engram with this id."""

    # KeyError shows repr(message); a sentence should be shown as it is.
    __str__ = Exception.__str__
