"""What our actors are called, so that anybody who knows the cluster's name finds them."""

from __future__ import annotations

import re

from ..errors import InvalidValue

NAMESPACE = "memories"
"""The Ray namespace of all our actors, unless `connect` is told another one."""


def check_cluster_name(name: str) -> str:
    """A name that can be part of actor names, keys and folders."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        raise InvalidValue(
            f"cluster name {name!r} must be 1 to 63 letters, digits, '.', '_' or '-', "
            "and begin with a letter or a digit"
        )
    return name


def coordinator_name(cluster: str) -> str:
    return f"{cluster}/coordinator"


def member_id(node: str, tier: str, index: int = 0) -> str:
    """The stable name of a tier on a node; hot tiers are numbered by GPU."""
    return f"{node}/{tier}{index if tier == 'hot' else ''}"


def tier_actor_name(cluster: str, member: str) -> str:
    return f"{cluster}/tier/{member}"


def memoria_actor_name(cluster: str, name: str) -> str:
    return f"{cluster}/memoria/{name}"


def observed_prefixes(cluster: str) -> tuple[str, ...]:
    """How the names of actors begin that are asked for a ``report()``."""
    return (memoria_actor_name(cluster, ""), f"{cluster}/replay/")


def replay_actor_name(cluster: str, buffer: str, shard: int, number: int) -> str:
    return f"{cluster}/replay/{buffer}/{shard}/{number}"
