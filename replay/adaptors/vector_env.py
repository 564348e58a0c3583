"""Recording gymnasium vector environments, whose automatic resets are easy to get wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidType, InvalidValue


class VectorWriter(Protocol):
    """What a recorder needs of a writer: `NStepWriter` and `EpisodeWriter` have it."""

    def add_vector(self, *, env_ids: NDArray[Any] | None = None, **steps: Any) -> None: ...

    def cut(self, env_ids: NDArray[Any] | None = None) -> None: ...


class VectorRecorder:
    """Steps a gymnasium ``VectorEnv`` and writes every transition that really happened.

        recorder = VectorRecorder(envs, NStepWriter(buffer, n=3, num_envs=envs.num_envs))
        obs, info = recorder.reset(seed=0)
        while ...:
            obs, reward, terminated, truncated, info = recorder.step(policy(obs))

    `reset` and `step` return what the environment returns. Written are ``obs``, ``action``, ``reward``,
    ``next_obs``, ``terminated``, ``truncated``, with ``next_obs`` of a last step being the last
    observation of its episode, in each of gymnasium's autoreset modes:

    - next step (gymnasium's default): the call after an episode's end only resets, and is no transition;
    - same step: the last observation is taken from ``info["final_obs"]``;
    - disabled: reset the ended environments with ``reset(options={"reset_mask": mask})``.

    A reset before an episode's end cuts it (as truncated).

    Where the writer refuses a step, `step` raises although the environments went on. That step is kept and
    written first in the next call, which raises before it does anything if the writer refuses again. Not
    thread-safe.
    """

    def __init__(self, envs: Any, writer: VectorWriter, *, autoreset_mode: str | None = None) -> None:
        mode = autoreset_mode or getattr(envs, "metadata", {}).get("autoreset_mode")
        self._mode = str(getattr(mode, "value", mode))
        if self._mode not in ("NextStep", "SameStep", "Disabled"):
            raise InvalidValue(
                f"autoreset_mode is {self._mode!r}; it is NextStep, SameStep or Disabled. "
                "If the environment does not say in its metadata, pass autoreset_mode=."
            )
        self.envs = envs
        self.writer = writer
        # Environments made with copy=False write the next observation over this one.
        self._keeps_arrays = not getattr(getattr(envs, "unwrapped", envs), "copy", True)
        self._obs: Any = None
        self._resetting: NDArray[np.bool_] = np.zeros(envs.num_envs, np.bool_)
        self._unwritten: Callable[[], None] | None = None

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Reset all environments, or those of ``options["reset_mask"]``."""
        mask = None if options is None else options.get("reset_mask")
        mask = None if mask is None else np.asarray(mask).copy()
        self._write_refused()
        # Cut first: if the writer cannot, nothing has been reset and no episode runs into the next.
        self.writer.cut(None if mask is None else np.flatnonzero(mask))
        obs, info = self.envs.reset(seed=seed, options=options)
        self._resetting[... if mask is None else mask] = False
        self._obs = self._own(obs)
        return obs, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Step all environments and write what happened."""
        if self._obs is None:
            raise InvalidType("Call reset() before the first step().")
        self._write_refused()
        obs, reward, terminated, truncated, info = self.envs.step(actions)
        ended = np.logical_or(terminated, truncated)
        steps = {
            "obs": self._obs,
            "action": actions,
            "reward": reward,
            "next_obs": obs,
            "terminated": terminated,
            "truncated": truncated,
        }
        resetting = self._resetting
        # Before anything can raise: the environments are where they are, whether this step is written or not.
        self._resetting = ended if self._mode == "NextStep" else np.zeros_like(ended)
        self._obs = self._own(obs)
        if self._mode == "SameStep" and ended.any():
            try:
                steps["next_obs"] = _with_final(obs, info, np.flatnonzero(ended))
            except InvalidValue:
                self._unwritten = self.writer.cut  # nobody knows this step, so nothing may reach over it
                raise
        happened = None
        if resetting.any():
            happened = np.flatnonzero(~resetting)
            steps = {name: _rows(value, happened) for name, value in steps.items()}
        try:
            self.writer.add_vector(env_ids=happened, **steps)
        except BaseException:
            # A copy: the caller and the environments may use their arrays again.
            self._unwritten = partial(self.writer.add_vector, env_ids=happened, **deepcopy(steps))
            raise
        return obs, reward, terminated, truncated, info

    def _write_refused(self) -> None:
        """Write the step that the writer has refused before; raises if it still does."""
        if self._unwritten is not None:
            self._unwritten()
            self._unwritten = None

    def _own(self, obs: Any) -> Any:
        return deepcopy(obs) if self._keeps_arrays else obs


def _rows(value: Any, index: NDArray[Any]) -> Any:
    """The rows of some environments, of an array or of nested arrays."""
    if isinstance(value, Mapping):
        return {name: _rows(inner, index) for name, inner in value.items()}
    if isinstance(value, tuple):
        return tuple(_rows(inner, index) for inner in value)
    return np.asarray(value)[index]


def _with_final(obs: Any, info: Mapping[str, Any], ended: NDArray[Any]) -> Any:
    """A copy of the observations in which ended environments have their episode's last one."""
    if "final_obs" not in info:
        raise InvalidValue(
            "An episode ended and info has no 'final_obs', so its last observation is lost. Wrappers that "
            "drop it have to go outside the recorder."
        )
    finals = [info["final_obs"][i] for i in ended]
    return _replace(deepcopy(obs), finals, ended)


def _replace(obs: Any, finals: list[Any], ended: NDArray[Any]) -> Any:
    if isinstance(obs, Mapping):
        return {name: _replace(inner, [f[name] for f in finals], ended) for name, inner in obs.items()}
    if isinstance(obs, tuple):
        return tuple(_replace(inner, [f[i] for f in finals], ended) for i, inner in enumerate(obs))
    obs[ended] = np.asarray(finals)
    return obs
