"""Documents in Postgres. Each is a row with its fields in JSONB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from lakebed.catalog.postgres.errors import READ_ONLY, is_broken, is_repeatable
from lakebed.documents.backend import Backend, OvertakenError, Reads, Seen, Write
from lakebed.documents.data import Content, Data
from lakebed.documents.postgres.conditions import Text, order, where
from lakebed.documents.postgres.jsonb import text_of
from lakebed.documents.postgres.pools import Pool, Rows, Session
from lakebed.documents.postgres.schema import migrate, table_of
from lakebed.documents.postgres.settling import NOTE, Note, commit
from lakebed.documents.query.query import Query, Stored
from lakebed.documents.query.ranking import Found, Scored
from lakebed.errors import LakebedError

_GET = 'SELECT "data" FROM {table} WHERE "collection" = %s AND "doc_id" = %s'
_LOCK = f"{_GET} FOR UPDATE"
_PUT = """INSERT INTO {table} ("collection", "doc_id", "data") VALUES (%s, %s, %s::jsonb)
 ON CONFLICT ("collection", "doc_id")
 DO UPDATE SET "data" = EXCLUDED."data", "updated_at" = now()"""
_CREATE = """INSERT INTO {table} ("collection", "doc_id", "data") VALUES (%s, %s, %s::jsonb)
 ON CONFLICT ("collection", "doc_id") DO NOTHING"""
_CHANGE = """UPDATE {table} SET "data" = %s::jsonb, "updated_at" = now()
 WHERE "collection" = %s AND "doc_id" = %s"""
_DELETE = 'DELETE FROM {table} WHERE "collection" = %s AND "doc_id" = %s'
_COLLECTIONS = """WITH RECURSIVE each_one(name) AS (
 (SELECT "collection" FROM {table} ORDER BY "collection" LIMIT 1)
 UNION ALL
 SELECT (SELECT "collection" FROM {table} WHERE "collection" > name ORDER BY "collection" LIMIT 1)
 FROM each_one WHERE name IS NOT NULL)
 SELECT name FROM each_one WHERE name IS NOT NULL"""
_VECTOR = "to_tsvector('pg_catalog.english', \"data\")"
_WORD = "plainto_tsquery('pg_catalog.english', %s)"
_MOST_WORDS = 100
_FULL_TEXT = "54000"  # the error code for more words than a tsvector can hold


class PostgresBackend(Backend):
    """The documents in the table of one schema."""

    def __init__(self, pool: Pool, schema: str, *, auto_migrate: bool) -> None:
        self._pool = pool
        self._schema = schema
        self._auto_migrate = auto_migrate
        self._is_ready = False
        self._table = table = table_of(schema)
        self.blocking = pool.blocking
        self.timeout = pool.timeout
        self._get = _GET.format(table=table)
        self._lock = _LOCK.format(table=table)
        self._put = _PUT.format(table=table)
        self._create = f"{_CREATE.format(table=table)} RETURNING {NOTE}"
        self._change = f"{_CHANGE.format(table=table)} RETURNING {NOTE}"
        self._delete = _DELETE.format(table=table)
        self._created = f"{self._put} RETURNING xmax = 0"
        self._deleted = f"{self._delete} RETURNING 1"

    @property
    def name(self) -> str:
        return self._pool.server.shown

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        rows = await self._fetch(self._get, (collection, doc_id))
        return Stored(doc_id, rows[0][0]) if rows else None

    async def put(self, collection: str, doc_id: str, content: Content) -> bool:
        rows = await self._fetch(self._created, (collection, doc_id, text_of(*content)))
        return bool(rows[0][0])

    async def delete(self, collection: str, doc_id: str) -> bool:
        return bool(await self._fetch(self._deleted, (collection, doc_id)))

    async def commit(self, seen: Seen, writes: Sequence[Write]) -> None:
        assert not seen, "what was seen, a transaction of Postgres knows itself"
        async with self._session("BEGIN ISOLATION LEVEL READ COMMITTED") as session:
            # Write in sorted order, so that two batches never wait for each other.
            ordered = sorted(writes, key=lambda write: write.key)
            stored = [(*key, text_of(*content)) for key, content in ordered if content]
            await session.many(self._put, stored)
            await session.many(self._delete, [key for key, content in ordered if not content])
            await session.script("COMMIT")

    async def change(
        self, collection: str, doc_id: str, change: Callable[[Data | None], Content]
    ) -> bool:
        key = (collection, doc_id)
        async with self._session("BEGIN ISOLATION LEVEL READ COMMITTED") as session:
            rows = await session.fetch(self._lock, key)
            content = text_of(*change(rows[0][0] if rows else None))
            if rows:
                noted = await session.fetch(self._change, (content, *key))
            else:
                noted = await session.fetch(self._create, (*key, content))
                if not noted:
                    raise OvertakenError(f"{doc_id!r} in {collection!r} was created meanwhile")
            await commit(session, self._pool, self._table, Note.of(noted[0], key))
        return not rows

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Reads]:
        async with self._session("BEGIN ISOLATION LEVEL SERIALIZABLE") as session:
            yield _Transaction(self, session)

    async def query(self, query: Query) -> list[Stored]:
        statement = self.select(query)
        return _documents(await self._fetch(statement.sql, statement.params))

    def select(self, query: Query) -> Text:
        """Return the statement of a query."""
        which, ordered = where(query), order(query.orders)
        page = Text(" OFFSET %s", (query.offset,))
        if query.limit is not None:
            page = Text(" LIMIT %s OFFSET %s", (query.limit, query.offset))
        sql = (
            f'SELECT "doc_id", "data" FROM {self._table} WHERE {which.sql} '  # noqa: S608
            f"ORDER BY {ordered.sql}{page.sql}"
        )
        return Text(sql, (*which.params, *ordered.params, *page.params))

    async def count(self, query: Query) -> int:
        which = where(query)
        sql = f"SELECT count(*) FROM {self._table} WHERE {which.sql}"  # noqa: S608
        return int((await self._fetch(sql, which.params))[0][0])

    async def search(self, query: Query, text: str, words: Sequence[str]) -> Found:
        """Search for any of the words, with the text search of Postgres."""
        del words
        found, counted = self.select_words(query, text)
        rows = await self._fetch(*found)
        if rows:
            page = [Scored(Stored(doc_id, data), score) for doc_id, data, score, _ in rows]
            return Found(page, int(rows[0][3]))
        return Found([], int((await self._fetch(*counted))[0][0]))

    def select_words(self, query: Query, text: str) -> tuple[Text, Text]:
        """Return the statement of a search, and the statement of its total."""
        readable = text.replace("\0", " ").encode(errors="replace").decode()
        asked = tuple(dict.fromkeys(readable.split()))[:_MOST_WORDS]
        any_word = " || ".join([_WORD] * len(asked))
        which = where(query)
        matching = f"{which.sql} AND {_VECTOR} @@ ({any_word})"
        sql = (
            f'SELECT "doc_id", "data", ts_rank({_VECTOR}, {any_word})::float8 AS score, '  # noqa: S608
            f'count(*) OVER () FROM {self._table} WHERE {matching} ORDER BY score DESC, "doc_id"'
            " LIMIT %s OFFSET %s"
        )
        page = (query.limit, query.offset)
        count = f"SELECT count(*) FROM {self._table} WHERE {matching}"  # noqa: S608
        return (
            Text(sql, (*asked, *which.params, *asked, *page)),
            Text(count, (*which.params, *asked)),
        )

    async def collections(self) -> list[str]:
        return [name for (name,) in await self._fetch(_COLLECTIONS.format(table=self._table), ())]

    async def now(self) -> datetime:
        found: datetime = (await self._fetch("SELECT clock_timestamp()", ()))[0][0]
        return found

    async def sleep(self, seconds: float) -> None:
        await self._pool.sleep(seconds)

    async def recover(self, error: LakebedError) -> None:
        if is_broken(error):  # other connections of the pool are probably dead as well
            await self._pool.check()

    def is_repeatable(self, error: LakebedError) -> bool:
        if getattr(error.__cause__, "sqlstate", None) == READ_ONLY:
            return False
        return isinstance(error, OvertakenError) or is_repeatable(error)

    async def close(self) -> None:
        await self._pool.close()

    async def _fetch(self, sql: str, params: Sequence[Any]) -> Rows:
        if not self._is_ready:
            await self._make_ready()
        return await self._pool.fetch(sql, params)

    @asynccontextmanager
    async def _session(self, begin: str) -> AsyncIterator[Session]:
        if not self._is_ready:
            await self._make_ready()
        session = await self._pool.session()
        try:
            await session.script(begin)
            yield session
        finally:
            await session.give_back()

    async def _make_ready(self) -> None:
        session = await self._pool.session()
        try:
            await migrate(self._schema, session.fetch, session.script, allowed=self._auto_migrate)
        finally:
            await session.give_back()
        self._is_ready = True


class _Transaction:
    """A SERIALIZABLE transaction, which behaves as if it ran alone."""

    def __init__(self, backend: PostgresBackend, session: Session) -> None:
        self._backend = backend
        self._session = session

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        rows = await self._session.fetch(self._backend._get, (collection, doc_id))
        return Stored(doc_id, rows[0][0]) if rows else None

    async def query(self, query: Query) -> list[Stored]:
        statement = self._backend.select(query)
        return _documents(await self._session.fetch(statement.sql, statement.params))

    async def commit(self, writes: Sequence[Write]) -> None:
        note: Note | None = None
        backend = self._backend
        for key, content in sorted(writes, key=lambda write: write.key):
            if content is None:
                rows = await self._session.fetch(f"{backend._delete} RETURNING {NOTE}", key)
            else:
                values = (*key, text_of(*content))
                rows = await self._session.fetch(f"{backend._put} RETURNING {NOTE}", values)
            if rows and (note is None or note.key is None):
                note = Note.of(rows[0], None if content is None else key)
        await commit(self._session, backend._pool, backend._table, note)


def _documents(rows: Rows) -> list[Stored]:
    return [Stored(doc_id, data) for doc_id, data in rows]
