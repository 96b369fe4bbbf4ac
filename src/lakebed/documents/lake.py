"""Documents in a lake, with its history, snapshots and search.

Only this module knows the layout of keys:

    documents/<collection>/<doc_id>     `%` and `/` in a collection's name are %25 and %2F
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from inspect import signature
from threading import Lock
from typing import Any, Final

from lakebed.documents.async_store import AsyncMetadataStore
from lakebed.documents.backend import Backend, OvertakenError, Seen, Write
from lakebed.documents.data import Content
from lakebed.documents.query.query import Query, Stored
from lakebed.documents.query.ranking import Found, Scored
from lakebed.documents.store import MetadataStore
from lakebed.documents.threads import ThreadedBackend
from lakebed.errors import CatalogError, ConfigurationError, ConflictError
from lakebed.lake.entries.transaction import Transaction
from lakebed.lake.lake import Lake
from lakebed.model import EntryRow
from lakebed.suggestions import suggestion

ROOT: Final = "documents/"
_LAST = "\U0010ffff"


def key_of(collection: str, doc_id: str) -> str:
    """Return the key of a document."""
    return f"{_prefix(collection)}{doc_id}"


def _prefix(collection: str) -> str:
    return f"{ROOT}{collection.replace('%', '%25').replace('/', '%2F')}/"


def _collection(key: str) -> str:
    name = key[len(ROOT) :].partition("/")[0]
    return name.replace("%2F", "/").replace("%25", "%")


class LakeBackend(Backend):
    """Documents as the values of a lake."""

    def __init__(self, lake: Lake | Mapping[str, Any]) -> None:
        self._given = lake
        self._lake = lake if isinstance(lake, Lake) else None
        self._lock = Lock()
        self._closed = False

    @property
    def name(self) -> str:
        return "not connected" if self._lake is None else self._lake.name

    @property
    def lake(self) -> Lake:
        """The lake. It opens at the first use."""
        lake = self._lake
        if lake is not None and not self._closed:
            return lake
        with self._lock:
            if self._closed:
                raise CatalogError("the store is closed")
            if self._lake is None:
                from lakebed.config.opening import open as open_lake

                assert not isinstance(self._given, Lake)
                self._lake = open_lake(**self._given)
            return self._lake

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        found = self.lake.read_entry(key_of(collection, doc_id))
        if found is None or not isinstance(found[1], dict):
            return None
        return Stored(doc_id, found[1], found[0])

    async def put(self, collection: str, doc_id: str, content: Content) -> bool:
        return self.lake.store(key_of(collection, doc_id), content.data).created

    async def delete(self, collection: str, doc_id: str) -> bool:
        return self.lake.delete(key_of(collection, doc_id))

    async def commit(self, seen: Seen, writes: Sequence[Write]) -> None:
        written = {write.key for write in writes}
        tx = self.lake.transaction()
        for write in writes:
            found = seen.get(write.key)
            match = None if found is None else _row(found).hash_text()
            absent = found is None and write.key in seen
            self._queue(tx, key_of(*write.key), write.content, match, absent)
        for key, found in seen.items():
            if key not in written:
                self._queue_check(tx, key_of(*key), found)
        try:
            tx.commit()
        except ConflictError as error:
            raise OvertakenError(str(error)) from error

    def _queue(
        self, tx: Transaction, key: str, content: Content | None, match: str | None, absent: bool
    ) -> None:
        if content is not None:
            tx.store(key, content.data, if_match=match, if_absent=absent)
        elif absent:
            self._queue_check(tx, key, None)
        else:
            tx.delete(key, if_match=match)

    def _queue_check(self, tx: Transaction, key: str, found: Stored | None) -> None:
        """Make a transaction fail if a document that was read has changed, without writing it."""
        if found is None:
            tx.store(key, {}, if_absent=True)
            tx.delete(key)
        else:
            row = _row(found)
            tx.store(key, found.data, row.metadata_dict(), if_match=row.hash_text())

    async def query(self, query: Query) -> list[Stored]:
        after = None
        if query.start is not None and not query.orders and query.start.doc_id is not None:
            after = key_of(query.collection, query.start.doc_id)
        return query.answer(self._documents(query.collection, after), sorted_by_id=True)

    def _documents(self, collection: str, after: str | None = None) -> Iterator[Stored]:
        prefix = _prefix(collection)
        lake = self.lake
        for row, value in lake.read_listing(lake.list(prefix, after=after)):
            if isinstance(value, dict):
                yield Stored(row.key[len(prefix) :], value, row)

    async def count(self, query: Query) -> int:
        return sum(1 for found in self._documents(query.collection) if query.matches(found.data))

    async def search(self, query: Query, text: str, words: Sequence[str]) -> Found:
        """Search with the lake's own index."""
        del words
        prefix = _prefix(query.collection)
        first = 0 if query.conditions else query.offset
        limit = 2**40 if query.conditions or query.limit is None else query.limit
        hits = self.lake.search(text, prefix=prefix, limit=limit, offset=first)
        found = [
            Scored(Stored(hit.key[len(prefix) :], value), hit.score)
            for hit in hits
            if isinstance(value := hit.value, dict) and query.matches(value)
        ]
        if not query.conditions:
            return Found(found, hits.total)
        return Found(found[query.offset : query.last], len(found))

    async def collections(self) -> list[str]:
        names, after = [], None
        while entry := next(iter(self.lake.list(ROOT, limit=1, after=after)), None):
            names.append(_collection(entry.key))
            after = f"{_prefix(names[-1])}{_LAST}"
        return sorted(names)

    async def now(self) -> datetime:
        return self.lake.now()

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._lake is not None and not isinstance(self._given, Lake):
                self._lake.close()


def _row(found: Stored) -> EntryRow:
    assert isinstance(found.version, EntryRow)
    return found.version


def _backend(
    path: str | os.PathLike[str] | None, lake: object, options: Mapping[str, Any]
) -> LakeBackend:
    if lake is None:
        from lakebed.config.opening import open as open_lake

        known = signature(open_lake).parameters
        for name in options:
            if name not in known:
                raise ConfigurationError(
                    f"the metadata store 'lake' has no option {name!r}: {suggestion(name, known)}"
                )
        return LakeBackend({"where": path, **options})
    if not isinstance(lake, Lake):
        raise ConfigurationError(
            f"lake must be an open lake, got {type(lake).__name__}: to name a folder, use path="
        )
    if path is not None or options:
        raise ConfigurationError("lake cannot be combined with path and other options")
    return LakeBackend(lake)


class LakeMetadataStore(MetadataStore):
    """Documents in a lake, with its history, snapshots and search.

    `path`: the folder of a lake, or anything else that `lakebed.open` takes. A folder is created if
    it does not exist. Other options are those of `lakebed.open`, such as `catalog` and `storage`.
    `lake`: an open lake, instead of the other options. It stays open when the store is closed.

    Raises ConfigurationError for an invalid option.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        lake: Lake | None = None,
        **options: Any,
    ) -> None:
        self._over = _backend(path, lake, options)
        super().__init__(self._over)

    @property
    def lake(self) -> Lake:
        """The lake itself, for its history, snapshots, SQL and all other calls."""
        return self._over.lake

    @staticmethod
    def key(collection: str, doc_id: str) -> str:
        """Return the key of a document in the lake, for example for `lake.history(key)`."""
        return key_of(collection, doc_id)


class AsyncLakeMetadataStore(AsyncMetadataStore):
    """Documents in a lake, for coroutines. Threads do the work.

    The options are those of `LakeMetadataStore`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        lake: Lake | None = None,
        **options: Any,
    ) -> None:
        super().__init__(ThreadedBackend(_backend(path, lake, options)))
