"""`MemoriaActor`: a Memoria network, with several independent memories (sessions), on one node.

Durable when `adjust_lifespan_and_memories` returns: with ``checkpoint_interval=1`` everything up to and
including that step, fsynced in the cluster's tiers; with k, at most the last k - 1 steps are not. A call that
could not be saved, and should have been, changed nothing. Idempotent: every call, by (client, sequence).
Lost at a restart: steps that were begun and not adjusted; their next call raises `StepInterrupted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from memoria import Memoria

from ..errors import InvalidValue, KeyNotFound, StepInterrupted
from ..tiers.codec import encode
from . import logs
from .client import MemoryClient
from .core.model import StoreOptions
from .memoria_report import report_session
from .names import memoria_actor_name
from .reports import MemoriaReport

STATE_PREFIX = "\x00memoria/"
"""Keys that begin so hold the states of networks, and are not listed."""


def state_key(name: str, session: str) -> str:
    """Where the state of a session lies in the tiers."""
    return f"{STATE_PREFIX}{name}/{session}"


KEPT_CLIENTS = 1024
"""The last calls of so many clients are known for each session; a client is one handle in one process."""


@dataclass(slots=True)
class Session:
    """One memory. `answers` are those of the last call of each client, `done` the number of the last call of
    each client that a checkpoint will hold; those who called last come last in both."""

    network: Memoria
    unsaved: int = 0
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)

    @property
    def step_is_under_way(self) -> bool:
        """Whether working memory was added that no adjustment has made short-term yet."""
        return bool(self.network.engrams.working_memory_mask.any())

    def note_done(self, client: str, sequence: int) -> None:
        _note(self.done, client, sequence)

    def note_answer(self, client: str, sequence: int, answer: Any) -> None:
        _note(self.answers, client, (sequence, answer))


class MemoriaActor:
    """One instance of the network; calls are executed one at a time."""

    def __init__(
        self,
        cluster: str,
        namespace: str,
        name: str,
        arguments: Mapping[str, Any],
        checkpoint_interval: int,
        replicas: int,
        log_settings: logs.LogSettings,
    ) -> None:
        logs.set_up(cluster, memoria_actor_name("", name)[1:], log_settings.form, log_settings.level)
        self._name = name
        self._arguments = dict(arguments)
        self._interval = checkpoint_interval
        self._replicas = replicas
        self._client = MemoryClient(cluster, namespace)
        self._sessions: dict[str, Session] = {}
        if self._arguments.get("device") is None and torch.cuda.is_available():
            self._arguments["device"] = "cuda"

    def settings(self) -> dict[str, Any]:
        """What the network was made with, to compare with the arguments of a second `memoria()`."""
        device = self._arguments.get("device")
        return {
            **Memoria(**self._arguments).settings,
            "device": None if device is None else str(device),
            "checkpoint_interval": self._interval,
        }

    def add_working_memory(self, session: str, client: str, sequence: int, data: Any) -> None:
        """The first call of a step."""

        def apply(state: Session) -> None:
            state.network.add_working_memory(torch.from_numpy(np.array(data)))

        self._once("add_working_memory", session, client, sequence, apply)

    def remind(self, session: str, client: str, sequence: int) -> tuple[Any, Any]:
        """The second call of a step: memories and indices, as arrays."""

        def apply(state: Session) -> tuple[Any, Any]:
            self._require_step(state, session, client, sequence)
            memories, indices = state.network.remind()
            return memories.float().cpu().numpy(), indices.cpu().numpy()

        found: tuple[Any, Any] = self._once("remind", session, client, sequence, apply)
        return found

    def adjust(self, session: str, client: str, sequence: int, indices: Any, delta: Any) -> None:
        """The last call of a step. The step is saved when it returns, if it is its turn."""

        def apply(state: Session) -> None:
            self._require_step(state, session, client, sequence)
            with self._saving(session, state, client, sequence, if_due=True):
                state.network.adjust_lifespan_and_memories(
                    torch.from_numpy(np.array(indices)), torch.from_numpy(np.array(delta))
                )

        self._once("adjust", session, client, sequence, apply)

    def reset_memory(self, session: str, client: str, sequence: int) -> None:
        """Forget everything of a session, durably."""

        def apply(state: Session) -> None:
            with self._saving(session, state, client, sequence):
                state.network.reset_memory()

        self._once("reset_memory", session, client, sequence, apply)

    def checkpoint(self, session: str) -> None:
        """Save a session now, whatever the interval. Not in the middle of a step: after a restart nobody knew
        whether its other calls are still to come."""
        state = self._session(session)
        if state.step_is_under_way:
            raise InvalidValue(
                f"a step of session {session!r} of network {self._name!r} is under way: end it by "
                "adjust_lifespan_and_memories, then save it"
            )
        self._save(session, state)

    def state(self, session: str) -> dict[str, Any]:
        """The state of a session as arrays."""
        return _arrays(self._session(session).network.state_dict())

    def load_state(self, session: str, client: str, sequence: int, arrays: Mapping[str, Any]) -> None:
        """Replace a session by a saved state, durably."""

        def apply(state: Session) -> None:
            with self._saving(session, state, client, sequence):
                state.network.load_state_dict(_tensors(arrays))

        self._once("load_state", session, client, sequence, apply)

    def summary(self, session: str) -> dict[str, Any]:
        """Engrams by type over all rows, the timestep, and the lifespans of those that live."""
        network = self._session(session).network
        types = network.engrams.engrams_types
        lifespans = network.engrams.lifespan[types != 0].float().cpu().numpy()
        return {
            "timestep": network.timestep,
            "engrams": int((types != 0).sum()),
            "working": int((types == 1).sum()),
            "shortterm": int((types == 2).sum()),
            "longterm": int((types == 3).sum()),
            "lifespans": lifespans,
        }

    def report(self) -> MemoriaReport:
        """How the sessions are that are in memory, for the status page."""
        device = str(self._arguments.get("device") or "cpu")
        sessions = tuple(report_session(name, s.network) for name, s in sorted(self._sessions.items()))
        return MemoriaReport(name=self._name, node=self._client.node, device=device, sessions=sessions)

    def sessions(self) -> list[str]:
        """The sessions that are saved or in memory."""
        prefix = state_key(self._name, "")
        saved = (key.removeprefix(prefix) for key in self._client.keys(prefix))
        return sorted({*saved, *self._sessions})

    # -- parts --------------------------------------------------------------------------------------

    def _once(
        self, what: str, session: str, client: str, sequence: int, apply: Callable[[Session], Any]
    ) -> Any:
        state = self._session(session)
        number, answer = state.answers.get(client, (0, None))
        if number == sequence:
            return answer
        if sequence <= max(number, state.done.get(client, 0)):
            return None  # nobody waits for an older call; or it is in a checkpoint that outlived its answer
        about = {"key": f"{self._name}/{session}", "request": f"{client}/{sequence}"}
        try:
            answer = apply(state)
        except Exception as error:
            outcome = type(error).__name__
            logs.note_call(what, version=state.network.timestep, outcome=outcome, failed=True, **about)
            raise
        logs.note_call(what, version=state.network.timestep, outcome="ok", failed=False, **about)
        state.note_answer(client, sequence, answer)
        return answer

    @contextmanager
    def _saving(
        self, session: str, state: Session, client: str, sequence: int, *, if_due: bool = False
    ) -> Iterator[None]:
        """Change a session and save it, at once or when it is due. Where that fails, nothing has changed."""
        save = not if_due or state.unsaved + 1 >= self._interval
        before = (state.network.state_dict(), dict(state.done), state.unsaved) if save else None
        try:
            yield
            state.note_done(client, sequence)
            state.unsaved += 1
            if save:
                self._save(session, state)
        except BaseException:
            if before is not None:
                network, state.done, state.unsaved = before
                state.network.load_state_dict(network)
            raise

    def _require_step(self, state: Session, session: str, client: str, sequence: int) -> None:
        if state.step_is_under_way:
            return
        # Of a client that calls for the first time in this life, but not for the first time.
        if state.network.timestep or (sequence > 1 and client not in state.answers):
            raise StepInterrupted(
                f"session {session!r} of network {self._name!r} has no step under way: the actor may have "
                "restarted in the middle of it. Call add_working_memory again with the same data"
            )

    def _session(self, session: str) -> Session:
        state = self._sessions.get(session)
        if state is None:
            state = Session(Memoria(**self._arguments))
            try:
                saved = self._client.retrieve(state_key(self._name, session))
            except KeyNotFound:
                pass
            else:
                state.network.load_state_dict(_tensors(saved["state"]))
                state.done = dict(saved["done"])
            self._sessions[session] = state
        return state

    def _save(self, session: str, state: Session) -> None:
        value = {"state": _arrays(state.network.state_dict()), "done": state.done}
        options = StoreOptions(
            node=self._client.node, replicas=self._replicas, durable=True, allow_degraded=self._replicas > 1
        )
        self._client.store_many([state_key(self._name, session)], [encode(value)], [{}], options)
        state.unsaved = 0


def _note(last: dict[str, Any], client: str, what: Any) -> None:
    last.pop(client, None)
    last[client] = what
    while len(last) > KEPT_CLIENTS:
        del last[next(iter(last))]


def _arrays(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: tensor.cpu().numpy() for name, tensor in state.items()}


def _tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
