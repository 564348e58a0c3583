"""`Router`: which actor serves which shard, as one process knows it."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import ray

from ...errors import Closed, Unavailable
from ..calls import ATTEMPT_S, FIRST_BACKOFF_S, GONE, MAX_BACKOFF_S, Deadline, get, persist
from ..names import coordinator_name
from .core import events as ev
from .core.model import Layout, ShardView


class Router:
    """Asks the directory for the layout, and keeps handles of actors. Thread-safe."""

    def __init__(self, cluster: str, namespace: str, buffer: str) -> None:
        self._cluster, self._namespace, self.buffer = cluster, namespace, buffer
        self._lock = threading.Lock()
        self._actors: dict[str, Any] = {}
        self._coordinator: Any = None
        self._layout: Layout | None = None
        self._views: dict[int, ShardView] = {}
        self._pid = os.getpid()

    def ask_directory(self, deadline: Deadline, what: str, *arguments: Any) -> Any:
        """A request to the directory, repeated until it is answered."""
        return persist(
            lambda s: get(self._directory().replay.remote(what, *arguments), s),
            deadline,
            self._forget_directory,
        )

    def layout(self, timeout_s: float = ATTEMPT_S) -> Layout:
        """The last layout that was heard of."""
        if os.getpid() != self._pid:
            raise Closed("this replay belongs to the parent process; open it again in the child")
        if self._layout is None:
            self.refresh(timeout_s)
        assert self._layout is not None
        return self._layout

    def refresh(self, timeout_s: float = ATTEMPT_S) -> Layout:
        """Ask for the layout again."""
        deadline = Deadline.after(timeout_s, f"the layout of replay buffer {self.buffer!r}")
        return self.learn(self.ask_directory(deadline, "layout", self.buffer))

    def request_layout(self, suspicious: bool) -> ray.ObjectRef[Any]:
        """Ask for the layout without waiting; give the answer to `learn`."""
        what = "suspect" if suspicious else "layout"
        ref: ray.ObjectRef[Any] = self._directory().replay.remote(what, self.buffer)
        return ref

    def request(self, what: str, *arguments: Any) -> ray.ObjectRef[Any]:
        """A request to the directory, made once and not waited for."""
        ref: ray.ObjectRef[Any] = self._directory().replay.remote(what, *arguments)
        return ref

    def learn(self, layout: Layout) -> Layout:
        """A layout that was heard of; an older one than is known changes nothing."""
        with self._lock:
            if self._layout is None or layout.number > self._layout.number:
                self._layout = layout
                self._views = {view.shard: view for view in layout.shards}
            return self._layout

    def learn_view(self, answer: ev.NotPrimary) -> None:
        """A shard has a newer view than this process knows."""
        view = answer.view
        with self._lock:
            known = None if view is None else self._views.get(view.shard)
            if view is not None and known is not None and view.number > known.number:
                self._views[view.shard] = view

    def primary(self, shard: int) -> Any | None:
        """The actor that serves a shard; None where nobody does, as far as this process knows."""
        self.layout()
        with self._lock:
            view = self._views.get(shard)
        if view is None or view.primary is None:
            return None
        return self.actor(view.primary.actor)

    def actor(self, name: str) -> Any | None:
        actor = self._actors.get(name)
        if actor is None:
            try:
                actor = self._actors[name] = ray.get_actor(name, self._namespace)
            except (ValueError, *GONE):
                return None
        return actor

    def _directory(self) -> Any:
        if self._coordinator is None:
            try:
                self._coordinator = ray.get_actor(coordinator_name(self._cluster), self._namespace)
            except ValueError:
                raise Unavailable(
                    f"cluster {self._cluster!r} does not run (any more); connect() starts it"
                ) from None
        return self._coordinator

    def _forget_directory(self) -> None:
        self._coordinator = None


def ask_shard(router: Router, logical: int, method: str, deadline: Deadline, *arguments: Any) -> Any:
    """What the shard, or the one that answers for it now, says to a call that may be repeated.

    Asks again while nobody answers; errors of ours are raised.
    """
    backoff_s = FIRST_BACKOFF_S
    while True:
        actor = router.primary(router.layout().home_of(logical))
        answer = None
        if actor is not None:
            answer = result_of(
                getattr(actor, method).remote(*arguments), min(ATTEMPT_S, deadline.remaining_s())
            )
        if isinstance(answer, ev.NotPrimary):
            router.learn_view(answer)
        elif answer is not None and not isinstance(answer, ev.Full):
            if isinstance(answer, ev.Done) and answer.error is not None:
                raise answer.error
            return answer.result if isinstance(answer, ev.Done) else answer
        time.sleep(min(backoff_s, deadline.remaining_s()))
        backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
        router.refresh(deadline.remaining_s())


def result_of(ref: ray.ObjectRef[Any], timeout_s: float) -> Any:
    """What a shard answered, or None where it gave no answer. Errors of ours are raised."""
    try:
        return get(ref, timeout_s)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError:
        return None  # too late, dead, cut off, or on a node that is not there any more
