"""Where the rows of a diff lie while it lives: bounded memory for any number of differences."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Literal

from lakebed.catalog.statements.queries import load_spool_queries
from lakebed.model import DiffRow, EntryRow, Progress

Kind = Literal["added", "changed", "removed"]
KINDS: tuple[Kind, ...] = ("added", "changed", "removed")
_TOLD = 1000
_WIDTH = len(EntryRow._fields)
_COLUMNS = [f'"{side}_{name}"' for side in ("before", "after") for name in EntryRow._fields]
_NOTHING = (None,) * _WIDTH


class DiffSpool:
    """A private temporary database, in memory while small; closed when it is no longer used."""

    def __init__(self, rows: Iterable[DiffRow], progress: Progress | None = None) -> None:
        columns, values = ", ".join(_COLUMNS), ", ".join("?" * len(_COLUMNS))
        self._queries = {
            name: sql.replace("{columns}", columns).replace("{values}", values)
            for name, sql in load_spool_queries().items()
        }
        # Readers may be in other threads; SQLite itself lets them in one after the other.
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(self._queries["create_diff"])
        self._db.execute("BEGIN")
        self._db.executemany(self._queries["add_diff"], map(_flat, _counted(rows, progress)))
        self._db.execute("COMMIT")
        self._db.execute(self._queries["index_diff"])
        self._counts: dict[str, int] = dict(self._db.execute(self._queries["count_diff"]))

    def count(self, kind: Kind) -> int:
        """Return the number of differences of a kind."""
        return self._counts.get(kind, 0)

    def rows(self, kind: Kind, start: int = 0) -> Iterator[DiffRow]:
        """Yield the differences of a kind in key order, from number `start` on."""
        first = 0
        if start:
            ((first,),) = self._db.execute(self._queries["diff_number"], (kind, start))
        for row in self._db.execute(self._queries["diff_rows"], (kind, first)):
            yield DiffRow(_entry(row[:_WIDTH]), _entry(row[_WIDTH:]))

    def summary(self) -> tuple[int, int, int]:
        """Return how many contents changed, and the bytes of content before and after."""
        ((changed, before, after),) = self._db.execute(self._queries["diff_summary"])
        return changed, before, after

    def __del__(self) -> None:
        # Not left to the collector of sqlite3, which warns from Python 3.13 on.
        if hasattr(self, "_db"):
            self._db.close()


def _counted(rows: Iterable[DiffRow], progress: Progress | None) -> Iterator[DiffRow]:
    """Yield the same rows, and report their number now and then, and at the end."""
    done = 0
    for done, row in enumerate(rows, 1):
        if progress and done % _TOLD == 0:
            progress(done, None)
        yield row
    if progress:
        progress(done, done)


def _flat(row: DiffRow) -> tuple[object, ...]:
    kind: Kind = "changed"
    if row.before is None or row.after is None:
        kind = "added" if row.before is None else "removed"
    return (kind, *(row.before or _NOTHING), *(row.after or _NOTHING))


def _entry(row: tuple[object, ...]) -> EntryRow | None:
    return None if row == _NOTHING else EntryRow._make(row)
