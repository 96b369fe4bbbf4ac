"""Search a publication with its own index, without the lake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

from lakebed.errors import ConfigurationError, LakebedError
from lakebed.lake.checks import check_prefix
from lakebed.lake.searching import (
    Hit,
    Hits,
    Mode,
    ask,
    check_mode,
    check_page,
    check_weights,
)
from lakebed.model import EntryRow
from lakebed.objects.opening import parse_place
from lakebed.records import Entry
from lakebed.values.codec import decode_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lakebed.lake.share.published_files import PublishedFiles
    from lakebed.search.embedders import Embedder
    from lakebed.search.engine import Query, Result
    from lakebed.search.ranking import Source

_MALFORMED = (ValueError, TypeError, LookupError, ArithmeticError)


def open_publication(
    uri: str | os.PathLike[str] | Mapping[str, object],
    *,
    embedder: str | Callable[[Sequence[str]], object] | None = None,
) -> Publication:
    """Open a publication that `Lake.publish(…, search=True)` wrote, to search it without the lake.

    `uri`: the place, as for `publish`. `embedder`: the embedder of the lake, to search by meaning.
    If the publication is in a bucket, its index is copied to the system's folder for temporary
    files.

    Raises NotFoundError if there is no publication. Raises ConfigurationError if it was written
    without `search`, or without vectors of the embedder. Raises CorruptionError if a file is
    damaged, and StorageError if the storage cannot be read.
    """
    from lakebed.lake.share.publication_place import open_place
    from lakebed.lake.share.published_files import PublishedFiles

    path, options = parse_place("uri", uri)
    return Publication(PublishedFiles(open_place(path, options)), _load(embedder))


def _load(embedder: str | Callable[[Sequence[str]], object] | None) -> Embedder | None:
    if embedder is None:
        return None
    from lakebed.search.embedders import load_embedder

    return load_embedder(embedder)


class Publication:
    """A publication, as it was when it was opened. If another one replaces it, open it again.

    `entries` is the number of entries.
    """

    def __init__(self, files: PublishedFiles, embedder: Embedder | None) -> None:
        import numpy as np

        from lakebed.search.ranking import source_of

        self._files = files
        self._embedder = embedder
        self._sources = [source_of(s, np.ones(len(s), np.bool_)) for s in files.segments]
        self.entries = sum(map(len, files.segments))
        if embedder is not None:
            _check_vectors(embedder.name, {s.header.embedder for s in files.segments})

    def __repr__(self) -> str:
        return f"<Publication of {self.entries:,} entries at {self._files.uri}>"

    def search(
        self,
        query: str | None = None,
        *,
        metadata_filter: dict[str, Any] | None = None,
        prefix: str = "",
        limit: int = 10,
        offset: int = 0,
        thread: bool | Mapping[str, float] = False,
        mode: Mode | None = None,
    ) -> Hits:
        """Return the hits that `Lake.search` returned at the time of the publication.

        They have the same scores and the same order. Entries that have expired since are still
        found. The arguments are those of `Lake.search`.

        Raises ValidationError as `Lake.search` does, and ConflictError once another publication has
        replaced this one. Raises CorruptionError if an entry is damaged, and StorageError if the
        storage cannot be read.
        """
        check_page(query, limit, offset)
        low, high = check_prefix(prefix)
        weights = check_weights(thread)
        chosen = check_mode(
            mode,
            self._embedder is not None,
            "the publication was opened without an embedder: lakebed.open_publication",
        )
        if query is None:
            asked = ask("", metadata_filter, low, high, 0, None, "text")
            return self._all(asked, limit, offset)
        asked = ask(query, metadata_filter, low, high, limit + offset, weights, chosen)
        if not asked.words:
            return Hits([], 0)
        result = self._run(asked, query)
        shown = result.found[offset:]
        rows = self._files.rows([(hit.key, hit.version) for hit in shown])
        return Hits(
            [
                Hit(Entry(row, self), hit.score, hit.parts)
                for row, hit in zip(rows, shown, strict=True)
            ],
            result.total,
        )

    def _run(self, asked: Query, question: str) -> Result:
        from lakebed.search import engine

        with self._reading_index():
            text, asked = engine.heed_speakers(asked, question, self._sources)
        if asked.mode != "text":
            assert self._embedder is not None
            asked = asked._replace(vector=self._embedder.embed_query(text))
        with self._reading_index():
            return engine.run(asked, self._sources)

    def _all(self, asked: Query, limit: int, offset: int) -> Hits:
        """Return a page of the entries, in key order."""
        from lakebed.search import engine

        with self._reading_index():
            passing = [engine.scope(asked, source, source.visible) for source in self._sources]
            every = merge(*map(_keys, self._sources, passing))
            page = islice(every, min(offset, sys.maxsize), min(offset + limit, sys.maxsize))
            found = [(key.decode(), version) for key, version in page]
        return Hits(
            [Hit(Entry(row, self), 0.0) for row in self._files.rows(found)], sum(map(len, passing))
        )

    @contextmanager
    def _reading_index(self) -> Iterator[None]:
        """Turn errors from impossible data in the index into a CorruptionError."""
        try:
            yield
        except LakebedError:
            raise
        except _MALFORMED as error:
            self._files.fail(f"the search index of {self._files.uri} is damaged: {error!r}")

    # ValueReader, which entries use

    def read_value(self, row: EntryRow) -> Any:
        """Return the value of an entry, checked against its hash."""
        return decode_value(row.format, self._files.content(row))

    def count_rows(self, row: EntryRow) -> int | None:
        """Return how many rows a table has, or None for other values."""
        if row.format != "parquet":
            return None
        from lakebed.values.footers import read_footer

        data = self._files.content(row)
        return int(read_footer(data, len(data), lambda at, size: data[at : at + size]).num_rows)

    def full_uri(self, uri: str | None, position: str | None) -> str | None:
        """Return the URI of a table. None for a value in the file of the entries."""
        del position
        return None if uri is None else self._files.full_uri(uri)


def _check_vectors(embedder: str, made_by: set[str | None]) -> None:
    if None in made_by:
        raise ConfigurationError(
            "the publication lacks vectors for some entries: open it without an embedder, or "
            "publish again from a lake that is opened with one"
        )
    if others := made_by - {embedder}:
        raise ConfigurationError(
            f"embedder is {embedder!r}, but the vectors of the publication were made by "
            f"{others.pop()!r}: open it with that one, or without an embedder"
        )


def _keys(source: Source, documents: NDArray[np.int64]) -> Iterator[tuple[bytes, int]]:
    """Yield the keys and versions of documents."""
    keys, versions = source.segment.keys, source.segment.versions
    return ((keys[number], int(versions[number])) for number in documents.tolist())
