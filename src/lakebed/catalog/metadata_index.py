"""The metadata index: filters read few entries that do not match.

A store does not touch it (one term a field would make a small store a third slower). The index
catches up when a filter comes and the tail of entries that it lacks has grown; what is still in the
tail always counts as a candidate, so answers are fresh either way. Rows of versions that are gone
find no entry. This rests on versions becoming visible in their order, as with SQLite's one writer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lakebed.catalog.executors.base import Executor, Params, Row, Transaction
from lakebed.errors import LockTimeoutError, StorageError
from lakebed.values.json import decode_text

if TYPE_CHECKING:
    from lakebed.filters import Alternative, Filter

MAX_TAIL = 1000
"""Entries in the tail that a filter bears without catching up: a few milliseconds."""
MAX_CANDIDATES = 5000
"""Beyond it, reading entries in key order beats looking candidates up."""
_CHUNK = 2000


class Narrowing:
    """A condition for the WHERE of a listing, with its parameters."""

    __slots__ = ("params", "sql")

    def __init__(self, sql: str = "", params: Params | None = None) -> None:
        self.sql = sql
        self.params: Params = params or {}


class MetadataIndex:
    """Finds candidates for filters on one catalog."""

    def __init__(self, executor: Executor, queries: Mapping[str, str]) -> None:
        self._executor = executor
        self._queries = queries

    def narrow(self, metadata_filter: Filter) -> Narrowing:
        """The condition that leaves out entries which cannot match; empty if none is worth it."""
        alternatives = metadata_filter.narrow()
        if not alternatives:
            return Narrowing()
        indexed = self._indexed()
        ((tail,),) = self._executor.fetch(
            self._queries["count_metadata_tail"], {"indexed": indexed, "cap": MAX_TAIL}
        )
        if tail >= MAX_TAIL:
            indexed = self._catch_up(indexed)
        best, fewest = None, MAX_CANDIDATES
        for alternative in alternatives:
            ranges, params = _ranges(alternative)
            ((count,),) = self._executor.fetch(
                self._queries["index_narrowness"].replace("{ranges}", ranges),
                params | {"cap": fewest},
            )
            if count < fewest:
                best, fewest = (ranges, params), count
        if best is None:
            return Narrowing()
        ranges, params = best
        condition = self._queries["narrowing"].replace("{ranges}", ranges)
        return Narrowing(condition, params | {"indexed": indexed})

    def _indexed(self) -> int:
        ((value,),) = self._executor.fetch(
            self._queries["get_setting"], {"name": "metadata_indexed"}
        )
        return int(value)

    def _catch_up(self, indexed: int) -> int:
        """Index the tail in short transactions; the version up to which the index now reaches.

        Another writer at work, or a catalog that cannot be written, is no reason to fail: the rest
        of the tail is then read.
        """
        from lakebed.filters import index_terms

        queries = self._queries
        try:
            while True:
                with self._executor.write(patient=False) as tx:
                    ((value,),) = tx.all(queries["get_setting"], {"name": "metadata_indexed"})
                    indexed = int(value)
                    rows = tx.all(queries["metadata_tail"], {"indexed": indexed, "page": _CHUNK})
                    if not rows:
                        return indexed
                    tx.many(
                        queries["add_metadata_term"],
                        [
                            {"path": path, "value": value, "version": version}
                            for version, metadata in rows
                            if metadata != "{}"
                            for path, value in index_terms(decode_text(metadata))
                        ],
                    )
                    indexed = rows[-1][0]
                    tx.run(queries["set_meta"], {"name": "metadata_indexed", "value": indexed})
        except (LockTimeoutError, StorageError):
            return indexed

    def tidy(self, is_over: Callable[[], bool]) -> None:
        """Drop the rows of versions that are gone, which else count as candidates for ever: found
        by reading, and so many in each transaction, until `is_over`."""
        queries = self._queries
        last: Params = {"path": "", "value": b"", "version": 0}
        while not is_over():
            rows = self._executor.fetch(queries["stale_metadata_terms"], {**last, "page": _CHUNK})
            if not rows:
                return
            stale = [dict(zip(last, row, strict=True)) for row in rows]
            with self._executor.write() as tx:
                tx.many(queries["drop_metadata_term"], stale)
            last = stale[-1]

    def forget(self, tx: Transaction, rows: Sequence[Row]) -> None:
        """Drop the rows of these versions, which are gone, whose metadata is given."""
        from lakebed.filters import index_terms

        # In MySQL these columns pass as hexadecimal digits.
        as_hex = "unhex" in self._queries["drop_metadata_term"]
        terms = [
            {
                "path": path.encode().hex() if as_hex else path,
                "value": value.hex() if as_hex else value,
                "version": version,
            }
            for version, metadata in rows
            for path, value in index_terms(decode_text(metadata))
        ]
        tx.many(self._queries["drop_metadata_term"], terms)


def _ranges(alternative: Alternative) -> tuple[str, dict[str, object]]:
    """The SQL condition on `entry_metadata m` for an alternative, and its parameters."""
    from lakebed.filters import OVERFLOW

    parts, params = [], dict[str, object]()
    terms = [*alternative, (OVERFLOW[0], OVERFLOW[1], OVERFLOW[1])]
    for number, (path, low, high) in enumerate(terms):
        parts.append(
            f'(m."path" = :path{number} AND m."value" BETWEEN :low{number} AND :high{number})'
        )
        params |= {f"path{number}": path, f"low{number}": low, f"high{number}": high}
    return f"({' OR '.join(parts)})", params
