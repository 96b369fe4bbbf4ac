"""Reads pages of the entries that match a filter, in the cheaper of two ways.

Reading in key order finds frequent matches among the first entries, whatever the size of the lake.
The metadata index finds rare matches. Which way is cheaper shows while reading. The entries read so
far tell how many more a page would take, and the index counts the candidates that it would have to
look at. So a page costs at most a few times as much as the cheaper way would have cost. Each
statement reads a bounded number of entries, apart from expired ones and those that a moment does
not see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from lakebed.catalog.sql.metadata import FEW, MetadataIndex, Ranges
from lakebed.catalog.statements.executor import Params, Row

if TYPE_CHECKING:
    from lakebed.filters import Filter
    from lakebed.model import EntryRow

_FIRST = 40
"""The number of whole entries to read first. If one in three matches, it mostly gives ten
matches."""
_WINDOW = 10_000
"""The number of entries whose keys and metadata one statement reads."""
_MANY = 1_000
"""The number of entries from which on two statements pay, if the text of the metadata rules most of
them out."""
_STEP = 4
"""The factor by which each step reads more if nothing has matched."""
_PRICE = 2
"""The cost of a candidate, in entries that are read in key order."""
_OFTEN = 4
"""If one entry in so many matches, no index is faster."""
_WORTH_ASKING = 100
"""The number of candidates below which reading on is cheaper than asking the index."""
_MOST = 100_000
"""The number of candidates that one statement reads."""
_TEXT = 16_000_000
"""The characters of metadata that one statement may read, estimated from earlier ones."""


class Source(NamedTuple):
    """The state to read: the present, or a moment. The names of its queries end with `suffix`."""

    rows: Callable[[str, str, int], Sequence[EntryRow]]
    find: Callable[[Sequence[str]], Sequence[EntryRow]]
    read: Callable[[str, Params], Sequence[Row]]
    suffix: str


class FilteredPage:
    """One page of the matches of a filter among the keys below `high`."""

    def __init__(self, source: Source, index: MetadataIndex, wanted: Filter, high: str) -> None:
        self._source = source
        self._index = index
        self._wanted = wanted
        self._keeps = wanted.keeps
        self._high = high
        self._ways: list[Ranges] | None = None  # found when the index may pay
        # At a moment, two tables are read together, page by page, and every row is evaluated.
        self._unmarked = None if source.suffix else index.unmarked(wanted)
        self._seen = 0  # entries read in key order
        self._kept = 0  # and how many of them match
        self._text = 1  # and the characters of their metadata
        self._asked = _WORTH_ASKING // _STEP  # the number of candidates that was too large

    def take(self, low: str, limit: int) -> tuple[list[EntryRow], bool]:
        """Return up to `limit` entries from `low` on in key order, and whether more may follow.

        Without any entry, none follow.
        """
        rows = self._source.rows(low, self._high, min(_FIRST, 4 * limit))
        more = len(rows) == min(_FIRST, 4 * limit) and limit > 0
        found = [row for row in rows if self._keeps(row.metadata)]
        self._seen, self._kept = len(rows), len(found)
        self._text += sum(len(row.metadata) for row in rows)
        if rows:
            low = _behind(rows[-1].key)
        while more and len(found) < limit:
            keys, low, more = self._go_on(low, limit - len(found))
            if keys:
                found += sorted(self._source.find(keys), key=lambda row: row.key)
        return found[:limit], more or len(found) > limit

    def _go_on(self, low: str, need: int) -> tuple[list[str], str, bool]:
        """Return up to `need` further keys that match, the last key read, and whether more may
        follow."""
        ahead = need * self._seen // max(self._kept, 1)  # to read in key order
        room = _TEXT * self._seen // self._text
        way = self._way(min(ahead // _PRICE, _MOST, room))
        keys = None if way is None else self._indexed(*way, low, need)
        if keys is not None:
            more = len(keys) > need
            return keys[:need], _behind(keys[need - 1]) if more else self._high, more
        size = 5 * ahead // 4 if self._kept else _STEP * self._seen
        return self._ordered(low, need, max(_FIRST, min(size, _WINDOW, room)))

    def _ordered(self, low: str, need: int, size: int) -> tuple[list[str], str, bool]:
        """Return the same as `_go_on`, from the next entries in key order."""
        if self._unmarked and size >= _MANY:
            rows, end, more = self._read_unmarked(*self._unmarked, low, size)
            self._text += (size - len(rows)) * self._text // self._seen
            self._seen += size - len(rows)
        else:
            sql = self._index.sql("list_metadata" + self._source.suffix)
            rows = self._source.read(sql, {"low": low, "high": self._high, "page": size})
            end, more = _behind(rows[-1][0]) if rows else low, len(rows) == size
        keys = list[str]()
        for key, metadata, visible in rows:
            self._seen += 1
            self._text += len(metadata)
            if visible and self._keeps(metadata):
                self._kept += 1
                keys.append(key)
                if len(keys) == need:
                    return keys, _behind(key), True
        return keys, end, more

    def _read_unmarked(
        self, sql: str, params: Params, low: str, size: int
    ) -> tuple[Sequence[Row], str, bool]:
        """Return the next entries that their text does not rule out, their end, and whether more
        follow."""
        bounds = {"low": low, "high": self._high}
        behind = self._source.read(self._index.sql("key_behind"), {**bounds, "page": size})
        end = behind[0][0] if behind else self._high
        rows = self._source.read(sql, {**params, "low": low, "high": end})
        return rows, end, bool(behind)

    def _way(self, cap: int) -> tuple[Ranges, int] | None:
        """Return a way into the index with fewer than `cap` candidates, and their number with a
        margin.

        Returns None if there is no such way.
        """
        if self._kept * _OFTEN >= self._seen or self._ways == [] or self._asked == _MOST:
            return None
        if cap < min(_STEP * self._asked, _MOST):
            return None
        if self._ways is None:
            self._ways = self._index.ways(self._wanted)
        best, fewest, waiting = None, cap, 0
        for way in self._ways:
            sql = self._index.sql("count_candidates" + self._source.suffix, way)
            most = max(fewest, FEW)
            ((found, waiting, *ended),) = self._source.read(sql, {**way.params, "cap": most})
            if found + waiting + sum(ended) < fewest:
                best, fewest = way, found + waiting + sum(ended)
                if fewest <= _WORTH_ASKING:
                    break
        if waiting >= FEW and self._asked < _WORTH_ASKING:  # the first time
            self._index.take_some()
        self._asked = cap
        return None if best is None else (best, fewest + FEW)

    def _indexed(self, way: Ranges, cap: int, low: str, need: int) -> list[str] | None:
        """Return the keys from `low` on that match, in order, and if possible one more than needed.

        Returns None if there are too many candidates, because others have stored many entries.
        """
        sql = self._index.sql("indexed_metadata" + self._source.suffix, way)
        params = {**way.params, "low": low, "high": self._high, "cap": cap}
        rows = self._source.read(sql, params)
        if len(rows) >= cap:
            return None
        # Not all are evaluated, because that takes as long as reading them.
        candidates = dict(sorted((key, text) for _, key, text in rows if key is not None))
        passed = (key for key, text in candidates.items() if self._keeps(text))
        return list(islice(passed, need + 1))


def _behind(key: str) -> str:
    """Return the least key after another one: U+0001 appended, because no key holds NUL."""
    return key + "\x01"
