"""The usual combinations of sampler, remover and rate limiter, by name."""

from __future__ import annotations

from typing import Any, Literal, get_args

from ..errors import InvalidValue
from .buffer import PrioritizedReplayBuffer, ReplayBuffer
from .ordered import FifoSampler, LifoSampler
from .rate_limiters import Queue, Stack
from .schema import Schema

Kind = Literal["uniform", "prioritized", "queue", "stack"]


def make_buffer(
    kind: Kind, schema: Schema | None = None, capacity: int | None = None, **options: Any
) -> ReplayBuffer:
    """A buffer of a kind; ``options`` are those of `ReplayBuffer` (and ``alpha`` for "prioritized").

    uniform      every row with equal probability, the oldest are overwritten
    prioritized  by priority, the oldest are overwritten
    queue        every row once, oldest first; a full queue takes no more until rows were read
    stack        every row once, newest first; a full stack takes no more until rows were read

    Examples:
        >>> from memories.replay import make_buffer
        >>> queue = make_buffer("queue", capacity=10)
        >>> _ = queue.add_batch({"x": [0, 1, 2]})
        >>> queue.sample(2)["x"].tolist()
        [0, 1]
    """
    if kind == "uniform":
        return ReplayBuffer(schema, capacity, **options)
    if kind == "prioritized":
        return PrioritizedReplayBuffer(schema, capacity, **options)
    if kind in ("queue", "stack"):
        if capacity is None:
            raise InvalidValue(f"A {kind} needs a capacity in rows.")
        defaults: dict[str, Any] = {
            "sampler": FifoSampler() if kind == "queue" else LifoSampler(),
            "rate_limiter": Queue(capacity) if kind == "queue" else Stack(capacity),
            "max_times_sampled": 1,
        }
        return ReplayBuffer(schema, capacity, **(defaults | options))
    raise InvalidValue(f"There is no kind {kind!r} of buffer; there are {', '.join(get_args(Kind))}.")
