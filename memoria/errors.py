"""Every error that the network raises on purpose.

Each class has `MemoriaError` as a base and the standard class that people expect beside it, so both
``except MemoriaError`` and ``except ValueError`` work. A call that raises one of these has changed
nothing.
"""

from __future__ import annotations


class MemoriaError(Exception):
    """Base of all errors of this package.

    Examples:
        >>> from memoria import Memoria
        >>> try:
        ...     Memoria(0, 16, 5, 3, 4)
        ... except MemoriaError as error:
        ...     print(type(error).__name__)
        InvalidArgument
    """


class InvalidArgument(MemoriaError, ValueError):
    """A value that cannot be used: a size of 0, NaN data, an unknown mode.

    Examples:
        >>> import torch
        >>> from memoria import Memoria
        >>> Memoria(4, 16, 5, 3, 4).add_working_memory(torch.full((1, 2, 8), torch.nan))
        Traceback (most recent call last):
        memoria.errors.InvalidArgument: ...
    """


class InvalidShape(MemoriaError, ValueError):
    """A tensor of the wrong rank or size.

    Examples:
        >>> import torch
        >>> from memoria import Memoria
        >>> Memoria(4, 16, 5, 3, 4).add_working_memory(torch.rand(2, 8))
        Traceback (most recent call last):
        memoria.errors.InvalidShape: ...
    """


class InvalidType(MemoriaError, TypeError):
    """An argument of a type (or a tensor of a dtype) that cannot be taken.

    Examples:
        >>> from memoria import Memoria
        >>> Memoria(4, 16, 5, 3, 4).add_working_memory([[1.0, 2.0]])
        Traceback (most recent call last):
        memoria.errors.InvalidType: ...
    """


class IndexOutOfRange(MemoriaError, IndexError):
    """An index that names no engram; the valid ones are -1 ("none") to the number of slots minus one.

    Examples:
        >>> import torch
        >>> from memoria import Engrams
        >>> Engrams(torch.rand(1, 4, 8)).select(torch.tensor([[4]]))
        Traceback (most recent call last):
        memoria.errors.IndexOutOfRange: ...
    """


class NoWorkingMemory(MemoriaError, RuntimeError):
    """There is nothing to be reminded by: `add_working_memory` comes first.

    Examples:
        >>> from memoria import Memoria
        >>> Memoria(4, 16, 5, 3, 4).remind()
        Traceback (most recent call last):
        memoria.errors.NoWorkingMemory: ...
    """


class InvalidState(MemoriaError, ValueError):
    """A saved state that does not fit this network, or a file that is not a saved state.

    Examples:
        >>> from memoria import Memoria
        >>> Memoria(4, 16, 5, 3, 4).load(__file__)
        Traceback (most recent call last):
        memoria.errors.InvalidState: ...
    """


class UnknownEngram(MemoriaError, KeyError):
    """The history has no engram with this id.

    Examples:
        >>> from memoria import HistoryManager
        >>> HistoryManager().inspect(7)
        Traceback (most recent call last):
        memoria.errors.UnknownEngram: ...
    """

    # KeyError shows repr(message); a sentence should be shown as it is.
    __str__ = Exception.__str__
