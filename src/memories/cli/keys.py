"""`memories ls`, `query` and `rm`: keys by prefix and by metadata, and their end."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from ..tiers.progress import Progress
from .group import NOT_FOUND, fail
from .output import size_text, write_json, write_table
from .target import Target, cluster_options, confirm, json_option, yes_option
from .waiting import waiting

if TYPE_CHECKING:
    from ..actors.cluster import Cluster

BATCH_KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is."""

    key: str
    tier: str
    nbytes: int
    copies: int
    nodes: tuple[str, ...]


@click.command()
@click.argument("prefix", default="")
@click.option("--long", "-l", "in_full", is_flag=True, help="Tier, bytes, copies and nodes of each key.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many keys.")
@click.option("--null", "-0", "null", is_flag=True, help="End keys with a zero byte, for `xargs -0`.")
@json_option
@cluster_options
def ls(target: Target, prefix: str, in_full: bool, limit: int | None, null: bool, as_json: bool) -> None:
    """List the keys that start with PREFIX, sorted; all keys without one.

    \b
    Examples:
      memories ls
      memories ls features/ --long
      memories ls features/ --json | jq -r '.[] | select(.tier == "cold") | .key'
      memories ls tmp/ -0 | xargs -0 memories rm

    With --json always in full. No key that matches is no error.
    """
    with target.cluster() as cluster, cluster.memory(timeout_s=target.timeout_s) as memory:
        keys = memory.keys(prefix)[:limit]
        if as_json or in_full:
            _write_places(_places(cluster, keys, target.timeout_s), as_json)
        else:
            _write_keys(keys, "\0" if null else "\n")


@click.command()
@click.argument("metadata_filter", metavar="FILTER")
@click.option(
    "--sort", metavar="FIELD", multiple=True, help="Order by this field; -FIELD for downwards. Repeatable."
)
@click.option("--limit", type=click.IntRange(min=0), help="At most so many keys.")
@click.option("--long", "-l", "in_full", is_flag=True, help="Tier, bytes, copies and nodes of each key.")
@json_option
@cluster_options
def query(
    target: Target,
    metadata_filter: str,
    sort: tuple[str, ...],
    limit: int | None,
    in_full: bool,
    as_json: bool,
) -> None:
    """List the keys whose metadata match FILTER, a JSON object in the manner of MongoDB.

    \b
    Examples:
      memories query '{"split": "train"}'
      memories query '{"part": {"$gte": 10}}' --sort -part --limit 3
      memories query '{"$or": [{"lang": "en"}, {"lang": {"$exists": false}}]}' --json
    """
    parsed = _parse_filter(metadata_filter)
    order = [(f.removeprefix("-"), -1 if f.startswith("-") else 1) for f in sort]
    with target.cluster() as cluster, cluster.memory(timeout_s=target.timeout_s) as memory:
        with waiting("asking the tiers"):
            keys = memory.query(parsed, sort=order or None, limit=limit)
        if as_json or in_full:
            _write_places(_places(cluster, keys, target.timeout_s), as_json)
        else:
            _write_keys(keys, "\n")


@click.command()
@click.argument("keys", nargs=-1)
@click.option("--prefix", help="Every key that starts so. Asks first, unless --yes.")
@click.option("--force", "-f", is_flag=True, help="A key that is not there is no error.")
@yes_option
@json_option
@cluster_options
def rm(
    target: Target, keys: tuple[str, ...], prefix: str | None, force: bool, yes: bool, as_json: bool
) -> None:
    """Forget KEYS, in every tier and on every node.

    \b
    Examples:
      memories rm features/old
      memories rm --force a b c
      memories rm --prefix tmp/ --yes --json

    Exit code 4 where a key was not there; the others are deleted all the same.
    """
    if prefix == "":
        raise click.BadParameter("the empty prefix, which is every key's, is refused", param_hint="--prefix")
    if not keys and prefix is None:
        raise click.UsageError("name the keys, or give --prefix")
    with target.cluster() as cluster, cluster.memory(timeout_s=target.timeout_s) as memory:
        missing = _missing(cluster, list(dict.fromkeys(keys)), target.timeout_s)
        matching = memory.keys(prefix) if prefix else []
        if matching:
            confirm(f"Forget {len(matching):,} keys that start with {prefix!r}?", yes)
        wanted = list(dict.fromkeys([*keys, *matching]))
        deleted = 0
        with Progress("Deleting", len(wanted), unit="keys") as progress:
            for start in range(0, len(wanted), BATCH_KEYS):
                batch = wanted[start : start + BATCH_KEYS]
                deleted += memory.delete_many(batch)
                progress.advance(len(batch))
    if as_json:
        write_json({"deleted": deleted, "missing": missing})
    elif prefix:
        click.echo(f"{deleted:,} keys deleted")
    if missing and not force:
        named = ", ".join(map(repr, missing[:5])) + (" and more" if len(missing) > 5 else "")
        fail(f"not stored: {named}; `memories ls` lists what is", NOT_FOUND)


def _parse_filter(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{text!r:.100} is not JSON: {error}", param_hint="FILTER") from error
    if not isinstance(parsed, dict):
        raise click.BadParameter(f"a JSON object is wanted, not {text!r:.100}", param_hint="FILTER")
    return parsed


def _missing(cluster: Cluster, keys: Sequence[str], timeout_s: float) -> list[str]:
    from ..actors.core.model import Outcome
    from ..tiers.validation import check_keys

    client = cluster.client(timeout_s=timeout_s)
    located = client.locate_many(check_keys(keys), touch=False)
    client.close()
    return [key for key, where in zip(keys, located, strict=True) if where.outcome is Outcome.MISSING]


def _places(cluster: Cluster, keys: Sequence[str], timeout_s: float) -> list[Place]:
    """Where keys are; those that are deleted meanwhile, or cannot be read now, have no tier."""
    from ..actors.core.model import TIER_ORDER

    names = {node.node: node.name for node in cluster.status(timeout_s=timeout_s).nodes}
    client = cluster.client(timeout_s=timeout_s)
    places = []
    for start in range(0, len(keys), BATCH_KEYS):
        batch = keys[start : start + BATCH_KEYS]
        for key, where in zip(batch, client.locate_many(batch, touch=False), strict=True):
            members = [member for member, _ in where.members]
            tiers = sorted({client.tier_of(member) for member in members}, key=TIER_ORDER.index)
            nodes = sorted({names.get(m.partition("/")[0], m.partition("/")[0]) for m in members})
            places.append(Place(key, tiers[0] if tiers else "", where.nbytes, len(members), tuple(nodes)))
    client.close()
    return places


def _write_places(places: Sequence[Place], as_json: bool) -> None:
    if as_json:
        write_json([asdict(place) for place in places])
        return
    rows = [(p.key, p.tier or "?", size_text(p.nbytes), str(p.copies), ", ".join(p.nodes)) for p in places]
    write_table("", ("key", "tier", ">size", ">copies", "nodes"), rows)


def _write_keys(keys: Sequence[str], end: str) -> None:
    # As bytes: a key may hold what the terminal's encoding does not know.
    sys.stdout.buffer.write("".join(key + end for key in keys).encode("utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()
