"""Get-or-create of a Memoria network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
import torch

from memoria import Memoria

from ..errors import InvalidValue, KeyNotFound
from .calls import Deadline, get, persist
from .launch import start_memoria_actor
from .memoria_network import MemoriaNetwork
from .names import check_cluster_name, memoria_actor_name
from .running import find_coordinator
from .store_options import check_replicas

GPU_FRACTION = 0.1
"""Share of a GPU that a network asks Ray for."""


def open_memoria(
    cluster: str,
    namespace: str,
    name: str,
    arguments: Mapping[str, Any],
    checkpoint_interval: int,
    replicas: int,
    timeout_s: float,
) -> MemoriaNetwork:
    """The network of that name, once its actor runs. See `Cluster.memoria`."""
    check_cluster_name(name)
    check_replicas("replicas", replicas)
    if type(checkpoint_interval) is not int or checkpoint_interval < 1:
        raise InvalidValue(
            f"checkpoint_interval must be a whole number of at least 1, not {checkpoint_interval!r:.80}"
        )
    deadline = Deadline.after(timeout_s, f"opening network {name!r}")
    actor_name = memoria_actor_name(cluster, name)
    if not arguments:
        try:
            ray.get_actor(actor_name, namespace)
        except ValueError:
            raise KeyNotFound(
                f"no network {name!r} runs in cluster {cluster!r}; give the arguments of Memoria to make it"
            ) from None
        return MemoriaNetwork(actor_name, namespace)
    # So that a bad argument is named here, and starts nothing. The device is one of another machine.
    wanted = Memoria(**{**arguments, "device": None}).settings
    device = arguments.get("device")
    if device is not None:
        wanted["device"] = _device_name(device)
    settings = persist(
        lambda attempt_s: get(find_coordinator(cluster, namespace).actor_settings.remote(), attempt_s),
        deadline,
        lambda: None,
    )
    actor = start_memoria_actor(
        cluster, namespace, name, arguments, checkpoint_interval, replicas, GPU_FRACTION, settings
    )
    running = get(actor.settings.remote(), deadline.remaining_s())
    wanted["checkpoint_interval"] = checkpoint_interval
    different = sorted(key for key in wanted if running.get(key) != wanted[key])
    if different:
        key = different[0]
        raise InvalidValue(
            f"network {name!r} runs with {key}={running.get(key)!r}, not {wanted[key]!r}; "
            "choose another name, or the same arguments"
        )
    return MemoriaNetwork(actor_name, namespace)


def _device_name(device: object) -> str:
    try:
        return str(torch.device(device))  # type: ignore[call-overload]
    except (RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidValue(f"device {device!r} is none that torch knows: {reason}") from error
