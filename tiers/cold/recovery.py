"""Builds the index of a store from what is on its disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ...errors import CorruptData, MissingDependency
from .containers import container_of_suffix
from .folder import FileName, Folder, key_digest
from .frames import Frame, Kind
from .index import Entry, Found, Index, newest_frames, place_of
from .log import SegmentLog
from .segment import Segment
from .value_file import ValueFile


class Recovery:
    """One pass over a folder; `index` is the result.

    For each key the highest generation counts, whatever the order in which things are found. Files that
    no frame tells of (a crash came between the two) are opened and taken in; files that are superseded
    are removed; files that cannot be read are set aside, and hide what is older under the same key.
    """

    def __init__(self, folder: Folder, log: SegmentLog, *, in_memory: bool) -> None:
        self.index = Index(in_memory=in_memory)
        self.damage = list(log.damage)
        self.damaged_digests: dict[str, str] = {}
        self.generation = 0
        self._folder = folder
        self._files = {name: self._size(name) for name in folder.value_files()}
        self._deleted: dict[str, int] = {}
        self._take_frames(log.found)
        log.found = []
        self._take_files()
        self._remember_quarantine()

    def _size(self, name: FileName) -> int:
        self.generation = max(self.generation, name.generation)
        return (self._folder.values / str(name)).stat().st_size

    def _take_frames(self, found: list[tuple[Frame, Segment]]) -> None:
        if found:
            self.generation = max(self.generation, max(frame.generation for frame, _ in found))
        newest = newest_frames(found)
        self._deleted = newest.deletions
        for key, content in newest.contents.items():
            # A file whose key was deleted later stays among the files that nobody has claimed.
            if content.frame.generation > self._deleted.get(key, -1):
                self.index.put(key, self._entry(key, content))
        for key, update in newest.updates.items():
            if update.frame.generation > self._deleted.get(key, -1):
                self.index.put(key, self._updated(key, self.index.entries.get(key), update))

    def _entry(self, key: str, found: Found) -> Entry:
        frame = found.frame
        if frame.kind is Kind.PUT:
            return self.index.entry_of(*found)
        digest = key_digest(key)
        name = FileName(digest, frame.generation, found.description.suffix)
        entry = self.index.entry_of(*found, self._files.get(name, 0), digest)
        if self._files.pop(name, None) is None:
            entry.damage = f"its file {name} is gone"
        return entry

    def _updated(self, key: str, entry: Entry | None, update: Found) -> Entry:
        frame = update.frame
        if entry is not None and entry.generation >= frame.generation:
            return entry
        if entry is None or entry.content_generation != frame.target:
            # Its buffers are in a file that no frame tells of, or lost with a damaged segment.
            digest = key_digest(key)
            name = next((n for n in self._files if (n.digest, n.generation) == (digest, frame.target)), None)
            content = name or FileName(digest, frame.target, "lost")
            size = self._files.pop(content, 0)
            damage = "" if name else "its buffers are lost with a damaged segment"
            entry = Entry(key, frame.target, content, frame.target, size, None, None, b"", damage)
        place = place_of(frame, update.segment)
        return self.index.updated(entry, frame.generation, place, update.description.record)

    def _take_files(self) -> None:
        by_digest: dict[str, Entry] = {}
        if self._files:
            by_digest = {key_digest(key): entry for key, entry in self.index.entries.items()}
        for name in sorted(self._files, key=lambda n: n.generation):
            path = self._folder.values / str(name)
            known = by_digest.get(name.digest)
            if known is not None and known.content_generation > name.generation:
                path.unlink()  # superseded, and the crash came before it was removed
                continue
            try:
                key, packed = self._read(path, name)
            except MissingDependency as error:
                # Of a format whose package is gone: leave it alone, and say so.
                self._hide(name, known, str(error))
                continue
            except CorruptData as error:
                self._hide(name, known, f"{self._folder.set_aside(name)}: {error}")
                continue
            if self._deleted.get(key, -1) > name.generation:
                path.unlink()
                continue
            entry = Entry(key, name.generation, name, name.generation, self._files[name], None, None, packed)
            old = self.index.put(key, entry)
            if old is not None and isinstance(old.content, FileName):
                with suppress(FileNotFoundError):
                    (self._folder.values / str(old.content)).unlink()
            by_digest[name.digest] = entry

    def _read(self, path: Path, name: FileName) -> tuple[str, bytes]:
        file = ValueFile(container_of_suffix(name.suffix), path, whole=False)
        file.close()
        if key_digest(file.record.key) != name.digest:
            raise CorruptData(f"it holds another key than its name says: {file.record.key!r:.80}")
        return file.record.key, file.record.pack()

    def _hide(self, name: FileName, known: Entry | None, reason: str) -> None:
        self.damage.append(reason)
        if known is None:
            self.damaged_digests[name.digest] = reason
        else:  # an older value may not take the place of a damaged newer one
            known.damage = reason

    def _remember_quarantine(self) -> None:
        names = sorted(self._folder.value_files(self._folder.quarantine), key=lambda n: n.generation)
        if not names:
            return
        newest = {name.digest: name for name in names}
        for key, entry in self.index.entries.items():
            name = newest.pop(key_digest(key), None)
            if name is not None and name.generation >= entry.content_generation and not entry.damage:
                entry.damage = f"its file was damaged and is kept as {name}"
        for key, generation in self._deleted.items():
            name = newest.get(key_digest(key))
            if name is not None and name.generation < generation:
                del newest[name.digest]
        for digest, name in newest.items():
            self.damaged_digests.setdefault(digest, f"its file was damaged and is kept as {name}")
            self.generation = max(self.generation, name.generation)
