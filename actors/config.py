"""`ClusterConfig`: what a cluster is made of. Small and picklable: restarted actors get it again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidValue
from .logs import LogSettings
from .store_options import check_replicas

if TYPE_CHECKING:
    from ..tiers.glacier.config import GlacierConfig
    from ..tiers.policies import MigrationPolicy

GB = 1000**3
"""Sizes in public arguments are in GB of 10^9 bytes, as disks and GPUs are sold."""

DEFAULT_SIZES_GB = {"hot": 8.0, "warm": 32.0, "cold": 500.0}
OBJECT_STORE_SHARE = 0.5
"""At most this share of a node's object store is ours: the rest belongs to the user's own objects."""


@dataclass(frozen=True, slots=True)
class ActorSettings:
    """What a driver has to know of a cluster that runs, to start an actor for it."""

    log: LogSettings
    runtime_env: Mapping[str, Any]
    """That of the driver which started the cluster, with what it has brought along already uploaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """Budgets and places of the tiers on every node. Budgets are ceilings: nothing is allocated ahead.

    tiers: which of hot, warm and cold every node carries.
    storage_path: folder for the durable tiers on each node; None for one in the user's data folder.
    glacier: provider and configuration of the glacier tier; None for no glacier.
    gpu_fraction: share of a GPU that a hot actor asks Ray for, so that learners keep the rest.
    temporary: nothing of the durable tiers outlives the cluster, which also finds nothing of an earlier one.
    instance: tells the disks of one temporary cluster from those of the next of its name.
    node_selector: custom Ray resource that a node must have to carry tiers; None for every node.
    log_format, log_level: "text" or "json", and "DEBUG" to "ERROR", for the logs of the actors; None takes
        ``MEMORIES_LOG`` and ``MEMORIES_LOG_LEVEL`` of each node's environment.

    Examples:
        >>> ClusterConfig(hot_bytes=4 * GB, warm_bytes=20 * GB).cold_bytes // GB
        500
    """

    hot_bytes: int = int(DEFAULT_SIZES_GB["hot"] * GB)
    warm_bytes: int = int(DEFAULT_SIZES_GB["warm"] * GB)
    cold_bytes: int = int(DEFAULT_SIZES_GB["cold"] * GB)
    tiers: tuple[str, ...] = ("hot", "warm", "cold")
    storage_path: Path | None = None
    glacier: Mapping[str, Any] | None = field(default=None, repr=False)  # it may hold secrets
    device: str | None = None
    gpu_fraction: float = 0.05
    node_selector: str | None = None
    replicas: int = 1
    temporary: bool = False
    instance: str = field(default="", repr=False)
    migration_policy: MigrationPolicy | None = None
    cold_options: Mapping[str, Any] = field(default_factory=dict)
    log_format: str | None = None
    log_level: str | None = None

    def starting(self) -> ClusterConfig:
        """That of a cluster which begins now, for all of its actors, however often they restart."""
        return replace(self, instance=uuid.uuid4().hex[:12]) if self.temporary else self

    def differences(self, other: ClusterConfig) -> tuple[str, ...]:
        """The names of the fields that are not the same in both."""
        names = (field.name for field in fields(self) if field.name != "instance")
        return tuple(name for name in names if not _are_same(getattr(self, name), getattr(other, name)))

    def __post_init__(self) -> None:
        if self.glacier is not None:
            glacier_config(self.glacier, Path())  # so that what cannot be is named here, and starts nothing
        for name in ("hot_bytes", "warm_bytes", "cold_bytes"):
            if getattr(self, name) <= 0:
                raise InvalidValue(f"{name} must be positive, not {getattr(self, name)}")
        check_replicas("replicas", self.replicas)
        if self.log_format not in (None, "text", "json"):
            raise InvalidValue(f'log_format is "text" or "json", not {self.log_format!r}')
        if self.log_level not in (None, "DEBUG", "INFO", "WARNING", "ERROR"):
            raise InvalidValue(f"log_level is DEBUG, INFO, WARNING or ERROR, not {self.log_level!r}")
        if not 0 < self.gpu_fraction <= 1:
            raise InvalidValue(f"gpu_fraction must be above 0 and at most 1, not {self.gpu_fraction}")


def glacier_config(settings: Mapping[str, Any], folder: Path) -> GlacierConfig:
    """The settings of a glacier tier, checked; `folder` is where local objects lie unless they say it.

    Raises `InvalidValue` and `InvalidType`, never with a secret in the message.
    """
    from ..tiers.glacier.config import GlacierConfig

    if isinstance(settings, Mapping) and settings.get("provider", "local") == "local":
        settings = {"storage_path": str(folder), **settings}
    return GlacierConfig.from_mapping(settings)


def _are_same(one: Any, other: Any) -> bool:
    """Also of objects that compare by identity, such as a user's own policy."""
    return bool(one == other) or _in_names(one) == _in_names(other)


def _in_names(value: Any, depth: int = 4) -> Any:
    """What a value is, in names and plain values, which another process tells of it as well.

    The class may be one that only its driver can import, and has in each process another identity.
    """
    if hasattr(value, "__qualname__"):
        return value.__module__, value.__qualname__
    held = {of.name: getattr(value, of.name) for of in fields(value)} if is_dataclass(value) else {}
    held.update(getattr(value, "__dict__", {}))
    if not held or not depth:
        return repr(value)
    attributes = {name: _in_names(attribute, depth - 1) for name, attribute in held.items()}
    return type(value).__module__, type(value).__qualname__, attributes
