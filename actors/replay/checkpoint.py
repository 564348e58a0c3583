"""Checkpoints of a whole buffer: a folder with one file a shard and a manifest that makes them one.

Each shard fixes its own moment and writes while it goes on; its file comes here in parts, so the folder is
the caller's, whatever nodes the shards are on. The manifest is written last and replaced atomically: a
folder holds the checkpoint that it held before, or the new one.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import ray

from ...durable import replacing
from ...errors import CorruptData, DeadlineExceeded, InvalidValue
from ...replay.buffer import ReplayBuffer
from ...replay.persistence import read_checkpoint
from ...tiers.formats import check_format
from ..calls import ATTEMPT_S, FIRST_BACKOFF_S, Deadline
from .core import events as ev
from .core.replicated import RowsState
from .lanes import Lanes
from .routing import Router, ask_shard, result_of
from .saves import SavedShard
from .spec import ReplaySpec

FORMAT = 1
MANIFEST = "checkpoint.json"
PART_BYTES = 2 << 20
CHUNK_ROWS = 4_096
MAX_IN_FLIGHT = 8


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One shard's file of a checkpoint."""

    shard: int
    file: str
    nbytes: int
    rows: int


def save(router: Router, spec: ReplaySpec, path: str | Path, timeout_s: float) -> int:
    """Write a checkpoint into the folder `path`; returns how many rows it has."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    deadline = Deadline.after(timeout_s, f"the checkpoint of replay buffer {spec.name!r}")
    batch = uuid.uuid4().hex[:12]
    asked = {view.shard: _ask(router, view.shard) for view in router.refresh(deadline.remaining_s()).shards}
    saved = []
    try:
        for shard, ref in asked.items():  # all write at once; they are fetched one after the other
            saved.append(_fetch(router, shard, ref, folder / f"shard-{shard}-{batch}.replay", deadline))
        manifest = {
            "format": FORMAT,
            "spec": json.loads(spec.to_json()),
            "shards": [{"shard": s.shard, "file": s.file, "nbytes": s.nbytes, "rows": s.rows} for s in saved],
        }
        with replacing(folder / MANIFEST) as out:
            out.write(json.dumps(manifest, indent=1).encode())
    except BaseException:
        if not _is_named(batch, folder):  # else only the last fsync failed
            for file in folder.glob(f"shard-*-{batch}.replay"):
                file.unlink()
        raise
    named = {s.file for s in saved}
    for file in folder.glob("shard-*.replay"):  # of the checkpoint that was replaced
        if file.name not in named:
            file.unlink()
    return sum(s.rows for s in saved)


def _is_named(batch: str, folder: Path) -> bool:
    """Whether the manifest is already the one of this batch of files."""
    try:
        return batch in (folder / MANIFEST).read_text()
    except OSError:
        return False


def read_manifest(path: str | Path) -> tuple[ReplaySpec, list[SavedFile]]:
    """What a folder holds. Raises `FileNotFoundError`, or `CorruptData` where files are missing or cut."""
    folder = Path(path)
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        check_format(manifest["format"], FORMAT, f"the checkpoint in {folder}")
        spec = ReplaySpec.from_json(json.dumps(manifest["spec"]).encode())
        files = [SavedFile(**entry) for entry in manifest["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, CorruptData):
            raise
        raise CorruptData(f"{folder / MANIFEST} is no manifest of a checkpoint: {error}") from error
    for saved in files:
        file = folder / saved.file
        if not file.exists() or file.stat().st_size != saved.nbytes:
            raise CorruptData(f"{file} is missing or has not the {saved.nbytes} bytes of its checkpoint")
    return spec, files


def restore(router: Router, spec: ReplaySpec, path: str | Path, timeout_s: float) -> int:
    """Make the buffer hold what a checkpoint has, in place of its rows; returns how many rows that is.

    With as many shards, of the same numbers and settings, everything is as it was: handles, counters and
    random generators too. Otherwise the rows with their priorities are spread evenly, and get new handles.
    """
    saved_spec, files = read_manifest(path)
    if saved_spec.schema != spec.schema:
        raise InvalidValue(f"the checkpoint has rows of {saved_spec.schema}, this buffer of {spec.schema}")
    rows = sum(saved.rows for saved in files)
    layout = router.refresh(timeout_s)
    if rows > spec.rows_a_shard * len(layout.open_shards):
        raise InvalidValue(
            f"the checkpoint has {rows} rows, and this buffer room for "
            f"{spec.rows_a_shard * len(layout.open_shards)}: make it larger"
        )
    deadline = Deadline.after(timeout_s, f"restoring replay buffer {spec.name!r}")
    states = {saved.shard: (Path(path) / saved.file) for saved in files}
    for file in states.values():
        read_checkpoint(file)  # every byte is checked before anything is replaced
    alike = (spec.kind, spec.alpha, spec.rows_a_shard) == (
        saved_spec.kind,
        saved_spec.alpha,
        saved_spec.rows_a_shard,
    )
    if alike and set(states) == {view.shard for view in layout.shards}:
        for shard, file in states.items():
            _replace_rows(router, shard, _state_of(file), deadline)
    else:
        # New rows count as inserted: a rate limiter must not wait for all of them to be sampled.
        limiter = spec.rate_limiter
        sampled = 0 if limiter is None else max(0, int((rows - limiter.min_size) * limiter.ratio))
        for view in layout.shards:
            empty = RowsState(None, [], sampled // len(layout.shards))
            _replace_rows(router, view.shard, empty, deadline)
        _spread(router, saved_spec, spec, states, deadline)
    return rows


# -- saving -------------------------------------------------------------------------------------------


def _ask(router: Router, shard: int) -> ray.ObjectRef[Any] | None:
    actor = router.primary(shard)
    return None if actor is None else actor.save.remote()


def _fetch(
    router: Router, shard: int, ref: ray.ObjectRef[Any] | None, file: Path, deadline: Deadline
) -> SavedFile:
    """One shard's file; from its backup, with another moment, where its primary dies meanwhile."""
    while True:
        answer = None if ref is None else result_of(ref, deadline.remaining_s())
        if isinstance(answer, SavedShard):
            actor = router.primary(shard)
            with file.open("wb") as out:
                if actor is not None and _copy(actor, answer, out, deadline):
                    out.flush()
                    os.fsync(out.fileno())
                    actor.drop_save.remote(answer.token)
                    return SavedFile(shard, file.name, answer.nbytes, answer.rows)
        elif isinstance(answer, ev.NotPrimary):
            router.learn_view(answer)
        time.sleep(min(FIRST_BACKOFF_S, deadline.remaining_s()))
        router.learn(router.refresh(deadline.remaining_s()))
        ref = _ask(router, shard)


def _copy(actor: Any, saved: SavedShard, out: BinaryIO, deadline: Deadline) -> bool:
    offsets = range(0, saved.nbytes, PART_BYTES)
    calls = [actor.read_save.remote(saved.token, offset, PART_BYTES) for offset in offsets[:2]]
    for n, _ in enumerate(offsets):
        part = result_of(calls[n], min(ATTEMPT_S, deadline.remaining_s()))
        if part is None:
            return False
        out.write(part)
        calls[n] = None
        if n + 2 < len(offsets):
            calls.append(actor.read_save.remote(saved.token, offsets[n + 2], PART_BYTES))
    return True


# -- restoring ----------------------------------------------------------------------------------------


def _state_of(file: Path) -> RowsState:
    state = read_checkpoint(file)
    extra = state.values["extra"]
    # Plain arrays: a map of a file is a file's only here.
    arrays = {name: array.view(np.ndarray) for name, array in state.arrays.items()}
    return RowsState(state._replace(arrays=arrays), extra["marks"], extra["sampled"])


def _replace_rows(router: Router, shard: int, state: RowsState, deadline: Deadline) -> None:
    ask_shard(router, shard, "replace_rows", deadline, ray.put(state))


def _spread(
    router: Router, saved_spec: ReplaySpec, spec: ReplaySpec, files: dict[int, Path], deadline: Deadline
) -> None:
    """Insert rows so that no shard gets more than its even part: a full buffer loses none."""
    lanes = Lanes(router)
    shards = router.layout().open_shards
    total = 0
    for shard, file in files.items():
        buffer = saved_spec.make_buffer(shard)
        buffer.import_state(_state_of(file).buffer)
        for columns, priorities in _chunks(buffer, saved_spec.prioritized and spec.prioritized):
            rows = len(next(iter(columns.values())))
            # Row number n of all goes to shard n modulo their count.
            for turn, target in enumerate(shards):
                mine = slice((turn - total) % len(shards), None, len(shards))
                part = {name: np.ascontiguousarray(column[mine]) for name, column in columns.items()}
                count = len(range(*mine.indices(rows)))
                if count:
                    given = None if priorities is None else priorities[mine]
                    lanes.send(part, given, count, shard=target)
            total += rows
            while lanes.in_flight >= MAX_IN_FLIGHT and lanes.error is None:
                if deadline.remaining_s() <= 0:
                    raise DeadlineExceeded("the rows of a checkpoint were not taken in time")
                lanes.poll(0.1)
    lanes.drain(deadline.remaining_s())
    if lanes.error is not None:
        raise lanes.error


def _chunks(buffer: ReplayBuffer, prioritized: bool) -> Iterator[tuple[dict[str, Any], Any]]:
    handles = buffer.handles()
    for start in range(0, len(handles), CHUNK_ROWS):
        some = handles[start : start + CHUNK_ROWS]
        batch, _ = buffer.read(some)
        yield dict(batch.columns), buffer.priorities_of(some) if prioritized else None
