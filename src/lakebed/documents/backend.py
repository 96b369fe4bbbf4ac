"""The calls that a store needs of its database. All of them are coroutines.

The coroutines of a blocking database never wait. So one implementation serves programs with and
without an event loop (see `driving`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from lakebed.documents.data import Content, Data
from lakebed.documents.query.query import Query, Stored
from lakebed.documents.query.ranking import Found, rank
from lakebed.errors import LakebedError

Key = tuple[str, str]
"""A collection, and the id of a document in it."""
Seen = Mapping[Key, Stored | None]
"""Documents as they were read. None means that the document did not exist."""


class OvertakenError(LakebedError):
    """Another program was first. Nothing has been written, and another try may succeed."""

    error_type = "conflict"


class Write(NamedTuple):
    """A document to store, or to delete if `content` is None."""

    key: Key
    content: Content | None


class Reads(Protocol):
    """The reads of a transaction. If a document that was read changes before the end, the
    transaction is repeated."""

    async def get(self, collection: str, doc_id: str) -> Stored | None: ...

    async def query(self, query: Query) -> list[Stored]: ...

    async def commit(self, writes: Sequence[Write]) -> None:
        """Write all or none. Raises OvertakenError if a document that was read has changed."""
        ...


class Backend(ABC):
    """A database that keeps documents. It raises the errors of `lakebed.errors`."""

    blocking = True
    """Whether the coroutines block instead of waiting."""
    most_writes: int | None = None
    """The most documents that one atomic write can have. None means any number."""
    timeout = 30.0
    """For how many seconds a call is repeated if it fails for a temporary reason."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the database for people, without secrets."""

    @abstractmethod
    async def get(self, collection: str, doc_id: str) -> Stored | None:
        """Return a document, or None if it does not exist."""

    @abstractmethod
    async def put(self, collection: str, doc_id: str, content: Content) -> bool:
        """Store a document, replacing an existing one. Returns whether it is new."""

    @abstractmethod
    async def delete(self, collection: str, doc_id: str) -> bool:
        """Delete a document. Returns whether it existed."""

    @abstractmethod
    async def commit(self, seen: Seen, writes: Sequence[Write]) -> None:
        """Write all or none. `writes` has each document only once.

        Raises OvertakenError if a document in `seen` has changed.
        """

    async def write(self, writes: Sequence[Write]) -> None:
        """Write some documents of a batch that is not atomic."""
        await self.commit({}, writes)

    @abstractmethod
    async def query(self, query: Query) -> list[Stored]:
        """Return the documents that a query selects."""

    @abstractmethod
    async def collections(self) -> list[str]:
        """Return the collections that hold documents, sorted."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections. Closing again does nothing."""

    async def count(self, query: Query) -> int:
        """Return the number of matching documents."""
        return len(await self.query(query))

    async def search(self, query: Query, text: str, words: Sequence[str]) -> Found:
        """Return the matching documents that have any word of a text, the best first.

        `text`: the text. `words`: its words, after analysis. The result has the matches from
        `query.offset` to `query.last`. This default reads all documents and ranks them here.
        """
        del text
        return rank(await self.query(query.every()), words, query.offset, query.last)

    async def now(self) -> datetime:
        """Return the time of the database. This default returns the time of this machine."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    async def recover(self, error: LakebedError) -> None:
        """Prepare to repeat a call that failed with this error."""
        del error

    def check(self, collection: str, doc_id: str | None = None, data: Data | None = None) -> None:
        """Raise ValidationError for names and data that this database cannot hold."""
        del collection, doc_id, data

    def is_repeatable(self, error: LakebedError) -> bool:
        """Return whether nothing has been written and another try may succeed."""
        return isinstance(error, OvertakenError)

    async def change(
        self, collection: str, doc_id: str, change: Callable[[Data | None], Content]
    ) -> bool:
        """Replace a document by what a function makes of it. Returns whether the document is new.

        Raises OvertakenError if the document has changed meanwhile.
        """
        found = await self.get(collection, doc_id)
        content = change(None if found is None else found.data)
        key = (collection, doc_id)
        await self.commit({key: found}, [Write(key, content)])
        return found is None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Reads]:
        """Open a transaction that reads first, and writes at its end."""
        yield RememberingReads(self)


class RememberingReads:
    """A transaction that remembers what it has read. It writes only if that has not changed."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._seen: dict[Key, Stored | None] = {}

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        key = (collection, doc_id)
        if key not in self._seen:
            self._seen[key] = await self._backend.get(collection, doc_id)
        return self._seen[key]

    async def query(self, query: Query) -> list[Stored]:
        found = await self._backend.query(query)
        return [
            held
            for one in found
            if (held := self._seen.setdefault((query.collection, one.doc_id), one)) is not None
        ]

    async def commit(self, writes: Sequence[Write]) -> None:
        if writes:
            await self._backend.commit(self._seen, writes)
