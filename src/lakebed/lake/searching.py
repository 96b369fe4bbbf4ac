"""Search: finds the entries that have any of the words of a question, best first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, overload

from lakebed.errors import LakebedError, ValidationError
from lakebed.lake.checks import check_count, check_filter, check_prefix
from lakebed.lake.entries.listing import Listing
from lakebed.lake.entries.reading import Reading
from lakebed.model import EntryRow, Progress
from lakebed.records import Entry, Record
from lakebed.values.tabular import Tabular

if TYPE_CHECKING:
    import pyarrow as pa

    from lakebed.filters import Filter
    from lakebed.search.engine import Query

Mode = Literal["text", "vector", "hybrid"]
_WEIGHTS = ("previous", "next", "before_previous", "speaker")
_SHOWN_HITS = 20
_ALL = 2**40  # more hits than any lake has
_VALUES = 1000  # hits whose values are read and filtered at once
_SHOWN_CHARACTERS = 200
_SHOWN_BYTES = 64 * 1024  # bytes; printing a hit never reads or decodes a larger value


class Hit(Record):
    """An entry that a search found.

    | field | type | |
    | --- | --- | --- |
    | `key` | str | |
    | `value` | | read from the lake when first asked for, unless it is inline |
    | `metadata` | dict | |
    | `score` | float | higher is better; 0 without a query |

    `entry` is the whole entry. `explanation` maps each part of the score to its size: a word of the
    query as analysed, `tea (field name)` for a word in a field's name, `(conversation)` for the
    neighbours and the speaker, `(similarity)` for the cosine between the vectors of the entry and
    the question.
    """

    __slots__ = ("entry", "explanation", "score")
    FIELDS: ClassVar[tuple[str, ...]] = ("key", "value", "metadata", "score")

    def __init__(
        self, entry: Entry, score: float, explanation: Mapping[str, float] | None = None
    ) -> None:
        self.entry = entry
        self.score = score
        self.explanation = dict(explanation or {})

    @property
    def key(self) -> str:
        return self.entry.key

    @property
    def value(self) -> Any:
        return self.entry.value

    @property
    def metadata(self) -> dict[str, Any]:
        return self.entry.metadata

    def __repr__(self) -> str:
        return f"<Hit {self.key!r}, score {self.score:.3g}: {self.preview()}>"

    def _repr_html_(self) -> str:
        from lakebed.values.html import fields

        shown = ("key", self.key), ("score", float(f"{self.score:.3g}")), ("value", self.preview())
        return fields("Hit", (*shown, ("metadata", self.metadata)))

    def preview(self) -> str:
        """Return the beginning of the value on one line. A large value is not read."""
        entry = self.entry
        if not entry.inlined or entry.byte_size > _SHOWN_BYTES:
            return f"({entry.format}, {entry.byte_size:,} bytes)"
        try:
            value = entry.value
        except LakebedError as error:
            return f"({error.error_type})"
        text = value if isinstance(value, str) else repr(value)
        if isinstance(value, (dict, list)):
            text = json.dumps(value, ensure_ascii=False)
        line = " ".join(text[: 4 * _SHOWN_CHARACTERS].split())
        return line if len(line) <= _SHOWN_CHARACTERS else line[: _SHOWN_CHARACTERS - 1] + "…"


class Hits(Sequence[Hit], Tabular):
    """What a search found, best first: `limit` hits from `offset` on.

    `total`: how many entries match in all. `unread`: how many entries were judged by their metadata
    alone, because their values could not be read; usually 0.

    With a filter but no query, `total` is counted when you first ask for it, in the lake as it is
    then. That may take much longer than the hits.
    """

    def __init__(
        self, hits: Sequence[Hit], total: int | Callable[[], int], unread: int = 0
    ) -> None:
        self._hits = hits
        self._total = total
        self.unread = unread

    @property
    def total(self) -> int:
        """The number of matching entries."""
        if not isinstance(self._total, int):
            self._total = self._total()
        return self._total

    def __len__(self) -> int:
        return len(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self._hits[index]

    def to_arrow(self) -> pa.Table:
        """Return the hits as an Arrow table, best first.

        Columns: key (string), score (double), value and metadata (string, JSON). The value of an
        entry that is bytes or a table is null. Reads the values that have not been read yet.
        """
        import pyarrow as pa

        from lakebed.values.codec import encode_metadata
        from lakebed.values.json import encode

        schema = pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                pa.field("score", pa.float64(), nullable=False),
                pa.field("value", pa.string()),
                pa.field("metadata", pa.string(), nullable=False),
            ]
        )
        rows = [
            {
                "key": hit.key,
                "score": hit.score,
                "value": encode(hit.value).decode() if hit.entry.format == "json" else None,
                "metadata": encode_metadata(hit.metadata),
            }
            for hit in self
        ]
        return pa.Table.from_pylist(rows, schema=schema)

    def __repr__(self) -> str:
        lines = [f"<Hits: {len(self)} of {self.total}{self._note()}>"]
        lines += [f"  {hit.score:8.3g}  {hit.key!r}  {hit.preview()}" for hit in self._shown()]
        return "\n".join(lines + ["  …"] * (len(self) > _SHOWN_HITS))

    def _repr_html_(self) -> str:
        from lakebed.values.html import table

        more = len(self) - _SHOWN_HITS
        return table(
            f"{len(self)} of {self.total} hits{self._note()}",
            ("score", "key", "value", "metadata"),
            [
                (float(f"{hit.score:.3g}"), hit.key, hit.preview(), hit.metadata)
                for hit in self._shown()
            ],
            limit=_SHOWN_HITS,
            more=f"… and {more} more" if more > 0 else None,
        )

    def _shown(self) -> list[Hit]:
        return list(islice(self._hits, _SHOWN_HITS))

    def _note(self) -> str:
        return f", {self.unread} values could not be read" if self.unread else ""


class Searching(Reading):
    """The call that searches."""

    def search(
        self,
        query: str | None = None,
        *,
        metadata_filter: dict[str, Any] | None = None,
        value_filter: dict[str, Any] | None = None,
        prefix: str = "",
        limit: int = 10,
        offset: int = 0,
        thread: bool | Mapping[str, float] = False,
        mode: Mode | None = None,
        progress: Progress | None = None,
    ) -> Hits:
        """Return the entries whose text has any of the words of `query`, the best matches first.

        The text of an entry is made of the strings in its value and its metadata (see the guide on
        search). The names of their fields are searched too, and count less than text. Case, accents
        and English endings do not matter. Very common words of the query count only if it has no
        others. `query` is plain text: no character has a special meaning. A query without any word
        matches nothing. With None, all entries match, in the order of keys, with score 0.

        `metadata_filter`, `prefix`: as for `list`.
        `value_filter`: keeps the entries whose value is a JSON object that this filter, of the same
        grammar, matches. It reads the value of every entry that passes the other conditions.
        `limit`: the most hits to return. `offset`: how many hits to skip. Equal scores are in the
        order of keys.
        `thread`: if True, entries whose keys are equal up to the last `/` form a conversation in
        the order of their keys. Parts of the neighbours' scores are then added to an entry's score,
        so that neighbours of a match also match. A speaker named in the question is looked for as
        the one who speaks (`speaker` or `role` in value or metadata), not as a word. A mapping sets
        other weights than the default ones: `previous` (0.35), `next` (0.2), `before_previous`
        (0.2), `speaker` (0.5).
        `mode`: `"text"` ranks by words, `"vector"` by meaning, `"hybrid"` by both. The last two
        need a lake that was opened with `embedder`; such a lake uses `"hybrid"` by default.
        `progress`: called with the number of entries indexed and to index, if the search must first
        index many.

        The result is fresh: stores and deletes show at once, and expired entries never appear. An
        entry whose value cannot be read is judged by its metadata, and counted in the result's
        `unread`. The score is BM25 over the visible entries (see `lakebed.search.ranking`).

        Raises ValidationError if `query` is not a string, a filter is malformed, a number is
        negative, a weight is unknown, or the lake was not opened for the mode.
        """
        check_page(query, limit, offset)
        low, high = check_prefix(prefix)
        wanted = check_filter(value_filter)
        weights, chosen = check_weights(thread), self._check_mode(mode)
        if wanted is not None:
            every = self.search(
                query,
                metadata_filter=metadata_filter,
                prefix=prefix,
                limit=_ALL,
                thread=thread,
                mode=mode,
                progress=progress,
            )
            return self._with_value(every, wanted, limit, offset)
        if query is None:
            return self._all(metadata_filter, prefix, low, high, limit, offset)
        asked = ask(query, metadata_filter, low, high, limit + offset, weights, chosen)
        if not asked.words:
            return Hits([], 0)
        index = self._searcher()
        moment = self._searched_moment()
        answer = index.search(self._catalog, moment, query, asked, offset, progress)
        hits = [Hit(self._entry(row), found.score, found.parts) for row, found in answer.rows]
        return Hits(hits, answer.total, answer.unread)

    def _scores(self, question: str, wanted: int) -> Iterator[tuple[str, float]]:
        """Yield the keys and scores of the best hits of a search, for queries."""
        return ((hit.key, hit.score) for hit in self.search(question, limit=wanted))

    def _check_mode(self, mode: Mode | None) -> Mode:
        return check_mode(
            mode, self._search.embeds, "the lake was opened without an embedder: lakebed.open"
        )

    def _with_value(self, hits: Hits, wanted: Filter, limit: int, offset: int) -> Hits:
        """Return a page of the hits whose value is an object that the filter matches."""
        page, total, unread = list[Hit](), 0, hits.unread
        documents = (hit for hit in hits if hit.entry.format == "json")
        while chunk := list(islice(documents, _VALUES)):
            values = dict(self._read_values([hit.entry._row for hit in chunk]))
            for hit in chunk:
                value = values[hit.key]
                unread += isinstance(value, LakebedError)
                if isinstance(value, dict) and wanted.matches(value):
                    total += 1
                    if offset < total <= offset + limit:
                        page.append(hit)
        return Hits(page, total, unread)

    def _all(
        self,
        metadata_filter: dict[str, Any] | None,
        prefix: str,
        low: str,
        high: str,
        limit: int,
        offset: int,
    ) -> Hits:
        """Return a page of the entries in the order of their keys."""
        listing = Listing(
            self._catalog, self, prefix, metadata_filter=metadata_filter, limit=offset + limit
        )
        rows, seen = list[EntryRow](), 0
        for seen, row in enumerate(listing.rows(), 1):
            if seen > offset:
                rows.append(row)
        total: int | Callable[[], int]
        if not metadata_filter:
            total = self._catalog.count(low, high)
        elif seen < offset + limit:
            total = seen
        else:
            every = self.list(prefix, metadata_filter=metadata_filter)
            total = lambda: sum(1 for _ in every.rows())  # noqa: E731 - when it is asked for
        return Hits([Hit(self._entry(row), 0.0) for row in rows], total)


def ask(
    query: str,
    metadata_filter: dict[str, Any] | None,
    low: str,
    high: str,
    wanted: int,
    weights: Mapping[str, float] | None,
    mode: Mode,
) -> Query:
    """Return the query for the engine. A query without any word matches nothing."""
    from lakebed.search.engine import Query
    from lakebed.search.threads import ThreadWeights
    from lakebed.values.text import query_words  # loads the stemmer

    condition = check_filter(metadata_filter)
    thread = None if weights is None else ThreadWeights(**weights)
    return Query(query_words(query), low, high, condition, min(wanted, _ALL), thread, mode)


def check_page(query: object, limit: int, offset: int) -> None:
    """Raise ValidationError unless the query is a string or None, and the numbers can be a
    page's."""
    if query is not None and not isinstance(query, str):
        raise ValidationError(f"query must be a string or None, got {type(query).__name__}")
    check_count("limit", limit)
    check_count("offset", offset)


def check_mode(mode: Mode | None, embeds: bool, without: str) -> Mode:
    """Return the mode of a search.

    Raises ValidationError for an unknown mode, and for one that needs an embedder if there is none.
    `without` begins that message.
    """
    if mode not in (None, "text", "vector", "hybrid"):
        raise ValidationError(f"mode must be 'text', 'vector' or 'hybrid', got {mode!r}")
    if mode in ("vector", "hybrid") and not embeds:
        raise ValidationError(f"mode is {mode!r}, but {without}(…, embedder='minilm')")
    if mode is None:
        return "hybrid" if embeds else "text"
    return mode


def check_weights(thread: object) -> dict[str, float] | None:
    """Return the weights that differ from the default ones, or None if conversations do not
    count."""
    if isinstance(thread, bool):
        return {} if thread else None
    if not isinstance(thread, Mapping):
        raise ValidationError(
            f"thread must be True, False or a mapping of weights, got {type(thread).__name__}"
        )
    for name, weight in thread.items():
        if name not in _WEIGHTS:
            raise ValidationError(
                f"thread has the unknown weight {name!r}: expected {', '.join(_WEIGHTS)}"
            )
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
            raise ValidationError(f"thread.{name} must be a number from 0 to 1, got {weight!r}")
    return {str(name): float(weight) for name, weight in thread.items()}
