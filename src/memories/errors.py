"""Every error that the library raises on purpose.

Each class has `MemoriesError` as a base and, where the standard library has the idea, the standard
class as well, so that ``except KeyError`` and ``except TimeoutError`` work as people expect. Messages
say what happened, with the values, and what to do. All classes survive pickling, because they cross
process boundaries: an error takes its message as the only positional argument.
"""

from __future__ import annotations


class MemoriesError(Exception):
    """Base of all errors of this library.

    Examples:
        >>> from memories.replay import ReplayBuffer
        >>> try:
        ...     ReplayBuffer(capacity=0)
        ... except MemoriesError as error:
        ...     print(type(error).__name__, isinstance(error, ValueError))
        InvalidValue True
    """


class KeyNotFound(MemoriesError, KeyError):
    """The key is not stored (never was, was deleted, or has expired)."""

    # KeyError shows repr(message); a sentence should be shown as it is.
    __str__ = Exception.__str__


class InvalidKey(MemoriesError, ValueError):
    """A key that cannot be one: not a string, empty, or too long."""


class InvalidValue(MemoriesError, ValueError):
    """A value or an argument whose content is unacceptable (NaN priority, negative size, ...)."""


class InvalidType(MemoriesError, TypeError):
    """A value or an argument of a type that cannot be taken."""


class CapacityExceeded(MemoriesError, MemoryError):
    """The value does not fit the byte budget, and nothing that may be evicted would make room."""


class StorageFull(MemoriesError, OSError):
    """The disk or the store below us has no room left. Nothing was changed."""


class CorruptData(MemoriesError, ValueError):
    """Stored bytes do not match their checksum, or are not what their header says."""


class NewerFormat(CorruptData):
    """Written by a newer version of the library, in a format that this one does not know. Nothing is wrong
    with the data, and nothing of it was changed: read it with the version that wrote it, or a later one."""


class PickleRefused(MemoriesError, ValueError):
    """The data holds a pickle and the caller did not say ``allow_pickle=True``."""


class LockHeld(MemoriesError, RuntimeError):
    """Another process uses this folder."""


class Unavailable(MemoriesError, ConnectionError):
    """The answer cannot be known at present (a store or a member does not answer)."""


class NotRunning(Unavailable):
    """There is no Ray where it was looked for, or no cluster of that name in it; and none was started."""


class DeadlineExceeded(MemoriesError, TimeoutError):
    """The call did not finish within its deadline. Its outcome may be unknown."""


class BucketNotFound(MemoriesError, FileNotFoundError):
    """The bucket, container or folder that the configuration names does not exist."""


class PermissionRefused(MemoriesError, PermissionError):
    """Credentials are missing, wrong, or do not allow the operation."""


class ConflictingWrite(MemoriesError, RuntimeError):
    """A conditional write lost against another writer. Nothing was changed."""


class Closed(MemoriesError, RuntimeError):
    """The object was closed (or belongs to a parent process) and cannot be used."""


class MissingDependency(MemoriesError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class NothingToSample(MemoriesError, LookupError):
    """A replay buffer holds no row that its sampler could draw."""


class RateLimited(MemoriesError, TimeoutError):
    """The rate limiter does not let the call through yet. Nothing was changed; try again later."""


class ValueLost(MemoriesError, LookupError):
    """Every copy of an acknowledged value is gone. Never an older value in its place, never `KeyNotFound`."""


class NotEnoughNodes(MemoriesError, RuntimeError):
    """Fewer live nodes than the copies that were asked for. Nothing was changed."""


class VersionMismatch(MemoriesError, RuntimeError):
    """The cluster runs another version of Memories than this process."""


class StepInterrupted(MemoriesError, RuntimeError):
    """An actor restarted in the middle of a step of several calls. What was acknowledged before is there;
    begin the step again."""
