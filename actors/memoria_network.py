"""`MemoriaNetwork`: the methods of `Memoria`, on an actor of the cluster."""

from __future__ import annotations

import itertools
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from ..errors import InvalidValue
from .calls import Deadline, get, persist

if TYPE_CHECKING:
    import torch

TIMEOUT_S = 60.0


class MemoriaNetwork:
    """One session of a Memoria network that runs as an actor. Picklable: use it in tasks and actors.

    A step is `add_working_memory`, `remind`, `adjust_lifespan_and_memories`. Tensors go to the actor and
    come back on the device and in the dtype of the data. What `adjust_lifespan_and_memories` has
    acknowledged is there after the actor was killed (see `Cluster.memoria` for the interval); a step that
    was interrupted raises `StepInterrupted` and is begun again. One caller at a time for each session.
    """

    def __init__(self, actor_name: str, namespace: str, session: str = "default") -> None:
        self._actor_name = actor_name
        self._namespace = namespace
        self.session_name = session
        self._reset_identity()

    def _reset_identity(self) -> None:
        self._client = uuid.uuid4().hex
        self._numbers = itertools.count(1)
        self._actor: Any = None
        self._like: torch.Tensor | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self._actor_name, self._namespace, self.session_name, self._like)

    def __repr__(self) -> str:
        return f"<MemoriaNetwork {self._actor_name!r} session {self.session_name!r}>"

    def session(self, name: str) -> MemoriaNetwork:
        """Another memory of the same network, independent of this one."""
        if not name or not isinstance(name, str):
            raise InvalidValue(f"a session's name is a string that is not empty, not {name!r}")
        return MemoriaNetwork(self._actor_name, self._namespace, name)

    def sessions(self) -> list[str]:
        """The sessions that are saved or in memory."""
        found: list[str] = self._call("sessions")
        return found

    def add_working_memory(self, data: torch.Tensor) -> None:
        """Append `data` [B, W, D] as working engrams; time goes on by one."""
        from memoria import checks

        data = checks.float_tensor("data", data, rank=3, shape_means="[batch, memory, hidden]").detach()
        self._numbered("add_working_memory", data.float().cpu().numpy())
        self._like = data[:0]

    def remind(self) -> tuple[torch.Tensor, torch.Tensor]:
        """What the working memory reminds of: memories [B, R, D] and indices [B, R], -1 for none."""
        import torch

        memories, indices = self._numbered("remind")
        tensor = torch.from_numpy(np.array(memories))
        if self._like is not None:
            tensor = tensor.to(self._like)
        return tensor, torch.from_numpy(np.array(indices)).to(tensor.device)

    def adjust_lifespan_and_memories(self, indices: torch.Tensor, lifespan_delta: torch.Tensor) -> None:
        """End the step: add lifespans to reminded engrams, age all, let some die."""
        from memoria import checks

        indices = checks.any_tensor("indices", indices)
        delta = checks.any_tensor("lifespan_delta", lifespan_delta)
        self._numbered("adjust", _array(indices), _array(delta))

    def reset_memory(self) -> None:
        """Forget everything of this session."""
        self._numbered("reset_memory")

    def checkpoint(self) -> None:
        """Save this session into the tiers now. Raises `InvalidValue` in the middle of a step."""
        self._call("checkpoint", self.session_name)

    def summary(self) -> dict[str, Any]:
        """Engrams by type, the timestep, and the lifespans of those that live."""
        found: dict[str, Any] = self._call("summary", self.session_name)
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file that `load` and `Memoria.load` read."""
        from memoria.state import save_state

        save_state(_tensors(self._call("state", self.session_name)), Path(path))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Replace this session by the state in a file. A file that does not fit changes nothing."""
        from memoria.state import read_state

        state = read_state(Path(path))
        self._numbered("load_state", {name: tensor.numpy() for name, tensor in state.items()})

    def _numbered(self, method: str, *arguments: Any) -> Any:
        return self._call(method, self.session_name, self._client, next(self._numbers), *arguments)

    def _call(self, method: str, *arguments: Any) -> Any:
        deadline = Deadline.after(TIMEOUT_S, f"{method} of {self._actor_name}")
        payload = [ray.put(a) if isinstance(a, np.ndarray) and a.nbytes > 100_000 else a for a in arguments]

        def attempt(timeout_s: float) -> Any:
            if self._actor is None:
                self._actor = ray.get_actor(self._actor_name, self._namespace)
            return get(getattr(self._actor, method).remote(*payload), timeout_s)

        return persist(attempt, deadline, self._forget)

    def _forget(self) -> None:
        self._actor = None


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """For the actor, which says what is wrong with it. NumPy has no bfloat16, float32 holds all of it."""
    tensor = tensor.detach().cpu()
    array: np.ndarray[Any, Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array


def _again(actor_name: str, namespace: str, session: str, like: torch.Tensor | None) -> MemoriaNetwork:
    network = MemoriaNetwork(actor_name, namespace, session)
    network._like = like
    return network


def _tensors(arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
