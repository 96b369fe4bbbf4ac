"""A lake that is a folder of JSON files, which people can read and edit.

Every process keeps a copy of the entries in memory, in a SQLite catalog. The copy answers all
reads, search and SQL included. Each call takes the folder's lock and updates the copy from the
files that have changed. A call that writes then writes the files of the changed entries.

There is no history, no snapshot, no purge and no upkeep. Times of creation are those of the copy,
so they differ between processes. A call takes milliseconds, and longer the more files there are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from lakebed.catalog.protocol import Catalog, StagedRow
from lakebed.errors import CorruptionError, StorageError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.lake.opening import open as open_lake
from lakebed.model import Change
from lakebed.sessions.folder.files import Files, Stamp
from lakebed.sessions.portable import as_json, from_json

_LOOK = 0.5  # seconds between two checks for edited files
_READS = frozenset(
    {
        "get",
        "get_many",
        "page",
        "keys",
        "count",
        "search",
        "scan",
        "stats",
        "expired",
        "history",
    }
)
_PASSED = frozenset(
    {
        # These calls need no files: they concern the copy's search index, time and contents.
        "now", "locate", "parts", "known", "places", "settings", "count_waiting", "segments",
        "segment_bytes", "segment_ends", "segments_now", "ended", "next_waiting", "get_versions",
        "add_segment", "replace_segments", "kept_versions", "unheld_versions", "remember",
        "tidy_metadata", "signal", "listen", "snapshots",
    }
)  # fmt: skip


class FolderCatalog:
    """The catalog of the copy. It is kept equal to the files."""

    def __init__(self, lake: Lake, files: Files) -> None:
        self._lake = lake
        self._catalog = lake._catalog
        self._files = files
        self._known = dict[str, tuple[str, Stamp]]()  # the key and the stamp of each file
        self._generation = -1
        self._looked = 0.0

    def __getattr__(self, name: str) -> Any:
        if name in _PASSED:
            return getattr(self._catalog, name)
        if name in _READS:
            return self._reading(getattr(self._catalog, name))
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValidationError(f"{name}: a JSON folder has no history and no upkeep")

    def _reading(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            with self._files.locked():
                self._pull()
                return method(*args, **options)

        return call

    def commit(self, changes: Sequence[Change], uploads: Sequence[Any] = ()) -> Any:
        """Apply changes, and write the files of their entries."""
        with self._files.locked():
            self._pull()
            outcomes = self._catalog.commit(changes, uploads)
            self._push(change.key for change in changes)
        return outcomes

    def commit_batch(self, rows: Iterable[StagedRow], uploads: Sequence[Any] = ()) -> Any:
        """Store many entries, and write their files."""
        keys = list[str]()

        def noted() -> Iterator[StagedRow]:
            for row in rows:
                keys.append(row.key)
                yield row

        with self._files.locked():
            self._pull()
            counts = self._catalog.commit_batch(list(noted()), uploads)
            self._push(keys)
        return counts

    def touch(self, key: str, ttl: int | None, expires_at: int | None) -> Any:
        """Change when an entry expires, and write its file."""
        with self._files.locked():
            self._pull()
            row = self._catalog.touch(key, ttl, expires_at)
            self._push([key])
        return row

    def take(self, low: str, high: str, cut: int, into: str) -> Any:
        """Rename the first entry of a range of keys, and its file."""
        with self._files.locked():
            self._pull()
            row = self._catalog.take(low, high, cut, into)
            if row is not None:
                self._push((low[:cut] + row.key[len(into) :], row.key))
        return row

    def close(self) -> None:
        """Close the copy and the folder."""
        self._files.close()
        self._lake.close()

    def _pull(self) -> None:
        """Update the copy from the files that have changed."""
        generation, now = self._files.generation(), time.monotonic()
        if generation == self._generation and now - self._looked < _LOOK:
            return
        found = self._files.scan()
        gone = {path: key for path, (key, _) in self._known.items() if path not in found}
        read = dict[str, tuple[str, Stamp]]()
        entries = []
        for path, stamp in found.items():
            if self._known.get(path, ("", None))[1] != stamp:
                where = str(self._files.folder / path)
                entry = from_json(self._files.read(path), where)
                if self._files.path_of(entry["key"]) != path:
                    named = self._files.path_of(entry["key"])
                    raise CorruptionError(f"{where}: the file of its key is {named}")
                entries.append(entry)
                read[path] = (entry["key"], stamp)
        for key in gone.values():
            self._lake.delete(key)
        if entries:
            self._lake.store_batch(entries)
        for path in gone:
            del self._known[path]
        self._known |= read
        self._generation, self._looked = generation, now

    def _push(self, keys: Iterable[str]) -> None:
        """Write the files of these entries, or delete those of entries that no longer exist."""
        texts = dict[str, Any]()
        named = dict[str, str]()
        for key in dict.fromkeys(keys):
            found = self._lake.read_entry(key)
            path = self._files.path_of(key)
            named[path] = key
            texts[path] = None if found is None else as_json(*found)
        try:
            self._files.write(texts)
        except StorageError:
            for path, key in named.items():  # no file has this stamp: the next call reads them all
                self._known[path] = (key, Stamp(-1, -1, -1))
            self._generation = -1
            raise
        for path, key in named.items():
            stamp = self._files.stamp(path)
            if stamp is None:
                self._known.pop(path, None)
            else:
                self._known[path] = (key, stamp)
        self._generation = self._files.generation()


class FolderLake(Lake):
    """A lake of JSON files. `open_folder` makes it."""

    def __init__(self, folder: Path) -> None:
        files = Files(folder)
        copy = open_lake(":memory:")
        super().__init__(
            cast("Catalog", FolderCatalog(copy, files)),
            None,
            name=str(folder),
            inline_threshold=copy._inline_threshold,
            history="snapshots",
            history_retention=None,
            lake_id=copy._lake_id,
            search=copy._search.options,
        )


def open_folder(folder: str | os.PathLike[str]) -> Lake:
    """Open a folder of JSON files as a lake. Create the folder if it does not exist.

    Each entry is a file that people can read and edit. There is no history, no snapshot, no purge
    and no upkeep. The folder is meant for thousands of entries. Any number of processes on one
    machine can use it at once.

    Raises ConfigurationError if the folder holds other files, and CorruptionError, naming the file,
    if a file is malformed.
    """
    return FolderLake(Path(folder).expanduser().absolute())
