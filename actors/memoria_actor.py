"""`MemoriaActor`: a Memoria network, with several independent memories (sessions), on one node.

Durable when `adjust_lifespan_and_memories` returns: with ``checkpoint_interval=1`` everything up to and
including that step, fsynced in the cluster's tiers; with k, at most the last k - 1 steps are not.
Idempotent: every call, by (client, sequence). Lost at a restart: steps that were begun and not adjusted;
their next call raises `StepInterrupted`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from memoria import Memoria

from ..errors import KeyNotFound, StepInterrupted
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


@dataclass(slots=True)
class Session:
    """One memory. `step` tells what the next call may be; `answers` are those of the last call of each
    client, `done` the highest call of each client that is in the last checkpoint."""

    network: Memoria
    step: str = "idle"
    unsaved: int = 0
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)


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
        """The arguments that the network was made with, to compare with those of a second `memoria()`."""
        return {**self._arguments, "checkpoint_interval": self._interval}

    def add_working_memory(self, session: str, client: str, sequence: int, data: Any) -> None:
        """The first call of a step."""

        def apply(state: Session) -> None:
            state.network.add_working_memory(torch.from_numpy(np.array(data)))
            state.step = "added"

        self._once("add_working_memory", session, client, sequence, apply)

    def remind(self, session: str, client: str, sequence: int) -> tuple[Any, Any]:
        """The second call of a step: memories and indices, as arrays."""

        def apply(state: Session) -> tuple[Any, Any]:
            self._require_step(state, session)
            memories, indices = state.network.remind()
            state.step = "reminded"
            return memories.float().cpu().numpy(), indices.cpu().numpy()

        found: tuple[Any, Any] = self._once("remind", session, client, sequence, apply)
        return found

    def adjust(self, session: str, client: str, sequence: int, indices: Any, delta: Any) -> None:
        """The last call of a step. The step is saved when it returns, if it is its turn."""

        def apply(state: Session) -> None:
            self._require_step(state, session)
            before = state.network.state_dict() if self._interval == 1 else None
            state.network.adjust_lifespan_and_memories(
                torch.from_numpy(np.array(indices)), torch.from_numpy(np.array(delta))
            )
            previous = (state.step, dict(state.done))
            state.step = "idle"
            state.unsaved += 1
            state.done[client] = sequence
            if state.unsaved >= self._interval:
                try:
                    self._save(session, state)
                except BaseException:
                    if before is not None:  # not acknowledged: as if it had not been
                        state.network.load_state_dict(before)
                        state.step, state.done = previous
                        state.unsaved -= 1
                    raise

        self._once("adjust", session, client, sequence, apply)

    def reset_memory(self, session: str, client: str, sequence: int) -> None:
        """Forget everything of a session, durably."""

        def apply(state: Session) -> None:
            state.network.reset_memory()
            state.step = "idle"
            state.done[client] = sequence
            self._save(session, state)

        self._once("reset_memory", session, client, sequence, apply)

    def checkpoint(self, session: str) -> None:
        """Save a session now, whatever the interval."""
        self._save(session, self._session(session))

    def state(self, session: str) -> dict[str, Any]:
        """The state of a session as arrays."""
        return _arrays(self._session(session).network.state_dict())

    def load_state(self, session: str, client: str, sequence: int, arrays: Mapping[str, Any]) -> None:
        """Replace a session by a saved state, durably."""

        def apply(state: Session) -> None:
            state.network.load_state_dict(_tensors(arrays))
            state.step = "idle"
            state.done[client] = sequence
            self._save(session, state)

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
        if sequence <= state.done.get(client, 0):
            return None  # in a checkpoint that outlived its answer
        about = {"key": f"{self._name}/{session}", "request": f"{client}/{sequence}"}
        try:
            answer = apply(state)
        except Exception as error:
            outcome = type(error).__name__
            logs.note_call(what, version=state.network.timestep, outcome=outcome, failed=True, **about)
            raise
        logs.note_call(what, version=state.network.timestep, outcome="ok", failed=False, **about)
        state.answers[client] = (sequence, answer)
        return answer

    def _require_step(self, state: Session, session: str) -> None:
        if state.step == "idle" and state.network.timestep:
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


def _arrays(state: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    return {name: tensor.cpu().numpy() for name, tensor in state.items()}


def _tensors(arrays: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
