"""Copy entries with their times and expiry. Contents are compared by hash and never decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

from lakebed.errors import ConflictError
from lakebed.lake.copying.batch import store_rows
from lakebed.lake.copying.report import CopyReport
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Lake
from lakebed.model import Delete, EntryRow, Progress

OnConflict = Literal["fail", "skip", "replace"]
_PAGE = 1000
_NAMED = 100
_SHOWN = 3


class EntryCopy:
    """One copy of entries into a lake.

    Entries that the target already has are neither read nor written. So an interrupted copy
    continues where it stopped.
    """

    def __init__(
        self,
        source: Lake | LakeView,
        target: Lake,
        on_conflict: OnConflict,
        progress: Progress | None = None,
        *,
        private: bool = False,
    ) -> None:
        """Prepare a copy. `private` is as for `store_rows`."""
        self._source = source
        self._target = target
        self._private = private
        self._on_conflict = on_conflict
        self._progress = progress
        self._copied = self._replaced = self._unchanged = self._skipped = self._bytes = 0
        self._removed = 0
        self._kept = set[str]()  # keys that differ in the target and are left as they are

    def check(self, rows: Iterable[EntryRow]) -> None:
        """Raise ConflictError if the target has a different entry under one of the keys.

        Call this before anything is written.
        """
        for page in _pages(rows):
            here = self._here(page)
            differing = [row.key for row in page if row.key in here and not _alike(row, here)]
            if differing:
                raise conflict_of(differing)

    def run(self, rows: Iterable[EntryRow], total: int | None) -> None:
        """Copy the entries of these rows of the source."""
        self._bytes += store_rows(
            self._source, self._target, self._wanted(rows, total), private=self._private
        )

    def remove(self, keys: Iterable[str]) -> None:
        """Delete entries from the target."""
        wanted = iter(keys)
        while page := list(islice(wanted, _PAGE)):
            outcomes = self._target._catalog.commit([Delete(key) for key in page])
            self._removed += sum(outcome.changed for outcome in outcomes)

    def verify(self, rows: Iterable[EntryRow]) -> list[str]:
        """Return the first hundred keys whose entries differ between source and target."""
        differing = list[str]()
        for page in _pages(rows):
            here = self._here(page)
            now = self._target._catalog.now()
            differing += [
                row.key
                for row in page
                if row.key not in self._kept
                and not _alike(row, here)
                and not (row.expires_at is not None and row.expires_at <= now)
            ]
            if len(differing) >= _NAMED:
                break
        return differing[:_NAMED]

    def report(
        self,
        differing: list[str],
        *,
        versions: int = 0,
        snapshots: int = 0,
        cursor: str | None = None,
    ) -> CopyReport:
        """Return what this copy did."""
        return CopyReport(
            entries=self._copied + self._replaced + self._unchanged + self._skipped,
            copied=self._copied,
            replaced=self._replaced,
            unchanged=self._unchanged,
            skipped=self._skipped,
            removed=self._removed,
            bytes=self._bytes,
            versions=versions,
            snapshots=snapshots,
            differing=differing,
            notes=[],
            cursor=cursor,
        )

    def _wanted(self, rows: Iterable[EntryRow], total: int | None) -> Iterator[EntryRow]:
        """Yield the rows that must be stored."""
        done = 0
        for page in _pages(rows):
            here = self._here(page)
            for row in page:
                if row.key not in here:
                    self._copied += 1
                    yield row
                elif _alike(row, here):
                    self._unchanged += 1
                elif self._on_conflict == "replace":
                    self._replaced += 1
                    yield row
                else:  # with "fail", `check` found no difference, so somebody stored this one since
                    self._skipped += 1
                    self._kept.add(row.key)
            done += len(page)
            if self._progress:
                self._progress(done, total)

    def _here(self, page: Sequence[EntryRow]) -> dict[str, EntryRow]:
        """Return the target's entries of the same keys, by key."""
        found = self._target._catalog.get_many([row.key for row in page])
        return {row.key: row for row in found}


def conflict_of(keys: Sequence[str]) -> ConflictError:
    """Return the error for keys under which the target has different entries."""
    more = "" if len(keys) <= _SHOWN else ", …"
    shown = ", ".join(map(repr, keys[:_SHOWN]))
    return ConflictError(
        f"the target has different entries under these keys: {shown}{more} "
        "(on_conflict: 'skip' keeps them, 'replace' overwrites them)"
    )


def _alike(row: EntryRow, here: dict[str, EntryRow]) -> bool:
    other = here.get(row.key)
    return other is not None and state_of(other) == state_of(row)


def state_of(row: EntryRow) -> tuple[object, ...]:
    """Return the fields that must be equal for two entries of a key to count as the same."""
    return row.content_hash, row.format, row.metadata, row.expires_at


def _pages(rows: Iterable[EntryRow]) -> Iterator[list[EntryRow]]:
    coming = iter(rows)
    while page := list(islice(coming, _PAGE)):
        yield page
