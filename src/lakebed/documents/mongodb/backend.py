"""Documents in MongoDB, stored unchanged in the collections of a database.

Whether a document has changed is decided by comparing all of its fields. So nothing is added to it,
and changes by other programs are noticed. MongoDB's queries sometimes mean something else: paths
enter lists, an equality finds elements, and the order of an object's fields counts. There the
oracle decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from lakebed.catalog.log.stores.failures import Failures
from lakebed.catalog.log.stores.mongodb import explained
from lakebed.documents.backend import Backend, Key, OvertakenError, Seen, Write
from lakebed.documents.data import Content, Data
from lakebed.documents.mongodb.items import changed, exactly, narrowing, stored
from lakebed.documents.query.query import Query, Stored
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    LakebedError,
    ValidationError,
)

T = TypeVar("T")
_CHUNK = 500  # how many documents are read at once
_NO_TRANSACTIONS = 20
_OVERTAKEN = {112, 11000}  # codes: a write conflict; a document that exists already
_TOUCH = "__lakebed_touch"


class MongoDBBackend(Backend):
    """The collections of one database. `client`: a function that makes pymongo's client."""

    def __init__(
        self, client: Callable[[], Any], database: str, name: str, *, blocking: bool, timeout: float
    ) -> None:
        from pymongo.errors import PyMongoError

        self.blocking = blocking
        self.timeout = timeout
        self._make = client
        self._made: Any = None
        self._closed = False
        self._database_name = database
        self._name = name
        self._failures = Failures((PyMongoError,), _explained, str)

    @property
    def name(self) -> str:
        return self._name

    @property
    def _client(self) -> Any:
        if self._closed:
            raise CatalogError("the store is closed")
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def _database(self) -> Any:
        return self._client[self._database_name]

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        raw = await self._ask(lambda: self._database[collection].find_one({"_id": doc_id}))
        return None if raw is None else stored(raw)

    async def put(self, collection: str, doc_id: str, content: Content) -> bool:
        new = {"_id": doc_id, **content.data}
        done = await self._ask(
            lambda: self._database[collection].replace_one({"_id": doc_id}, new, upsert=True)
        )
        return done.upserted_id is not None

    async def delete(self, collection: str, doc_id: str) -> bool:
        done = await self._ask(lambda: self._database[collection].delete_one({"_id": doc_id}))
        return bool(done.deleted_count)

    async def commit(self, seen: Seen, writes: Sequence[Write]) -> None:
        if len(writes) == 1 and seen.keys() <= {writes[0].key}:
            await self._write(writes[0], seen, None)  # one write is atomic without a transaction
            return
        async with self._transaction() as session:
            if not seen:
                await self._write_all(writes, session)
                return
            written = {write.key for write in writes}
            for write in writes:
                await self._write(write, seen, session)
            for key, found in seen.items():
                if key not in written:
                    await self._touch(key, found, session)

    async def write(self, writes: Sequence[Write]) -> None:
        await self._write_all(writes, None)

    async def _write_all(self, writes: Sequence[Write], session: Any) -> None:
        from pymongo import DeleteOne, ReplaceOne

        by_collection: dict[str, list[Any]] = {}
        for (collection, doc_id), content in writes:
            one = {"_id": doc_id}
            by_collection.setdefault(collection, []).append(
                DeleteOne(one)
                if content is None
                else ReplaceOne(one, one | content.data, upsert=True)
            )
        for collection, all_of_it in by_collection.items():
            await self._ask(
                lambda: self._database[collection].bulk_write(  # noqa: B023
                    all_of_it,  # noqa: B023
                    ordered=False,
                    session=session,
                )
            )

    async def _write(self, write: Write, seen: Seen, session: Any) -> None:
        (name, doc_id), content = write
        collection, one = self._database[name], {"_id": doc_id}
        found = seen.get(write.key)
        if write.key in seen and found is None:
            if content is not None:
                new = one | content.data
                await self._ask(lambda: collection.insert_one(new, session=session))
            elif session is not None:
                await self._touch(write.key, None, session)
            return
        which = one if found is None else exactly(found)
        if content is None:
            done = await self._ask(lambda: collection.delete_one(which, session=session))
            matched = done.deleted_count
        else:
            new = one | (content.data if found is None else changed(found, content.data))
            done = await self._ask(
                lambda: collection.replace_one(which, new, upsert=found is None, session=session)
            )
            matched = done.matched_count
        if found is not None and not matched:
            raise _overtaken(write.key)

    async def _touch(self, key: Key, found: Stored | None, session: Any) -> None:
        """Write a document and undo that, so that the transaction conflicts with all changes of
        it."""
        collection, one = self._database[key[0]], {"_id": key[1]}
        if found is None:
            await self._ask(lambda: collection.insert_one(dict(one), session=session))
            await self._ask(lambda: collection.delete_one(one, session=session))
            return
        mark, unmark = {"$set": {_TOUCH: 1}}, {"$unset": {_TOUCH: 1}}
        done = await self._ask(lambda: collection.update_one(exactly(found), mark, session=session))
        if not done.matched_count:
            raise _overtaken(key)
        await self._ask(lambda: collection.update_one(one, unmark, session=session))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        session = self._client.start_session()
        try:
            await self._ask(session.start_transaction)
            yield session
            await self._finish(session)
        finally:
            await _settled(session.end_session())  # aborts an unfinished transaction

    async def _finish(self, session: Any) -> None:
        """Commit. If the answer is lost, send the commit again, which is safe."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                await self._ask(session.commit_transaction)
                return
            except LakebedError as error:
                labels = getattr(error.__cause__, "_error_labels", ())
                unknown = "UnknownTransactionCommitResult" in labels
                if not unknown or time.monotonic() > deadline:
                    raise
            await self.sleep(0.05)

    async def query(self, query: Query) -> list[Stored]:
        which: dict[str, Any] = {"$and": [{"_id": {"$type": "string"}}]}
        if query.start is not None and not query.orders and query.start.doc_id is not None:
            which["$and"].append({"_id": {"$gt": query.start.doc_id}})
        which["$and"] += [part for one in query.conditions if (part := narrowing(one))]
        found: list[Stored] = []
        cursor = self._database[query.collection].find(which, sort=[("_id", 1)], batch_size=_CHUNK)
        try:
            while chunk := await self._ask(lambda: cursor.to_list(_CHUNK)):
                found += filter(query.wants, map(stored, chunk))
                if not query.orders and query.last is not None and len(found) >= query.last:
                    break
        finally:
            await _settled(cursor.close())
        return query.answer(found, sorted_by_id=True)

    async def collections(self) -> list[str]:
        names = await self._ask(
            lambda: self._database.list_collection_names(filter={"type": "collection"})
        )
        held = []
        for name in sorted(names):
            which = {"_id": {"$type": "string"}}
            any_of_it = await self._ask(
                lambda: self._database[name].find_one(which, {"_id": 1})  # noqa: B023
            )
            if any_of_it is not None and not name.startswith("system."):
                held.append(name)
        return held

    async def now(self) -> datetime:
        told = await self._ask(lambda: self._client.admin.command("hello"))
        found: datetime = told["localTime"]
        return found.replace(tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        if self.blocking:
            time.sleep(seconds)
        else:
            await asyncio.sleep(seconds)

    def check(self, collection: str, doc_id: str | None = None, data: Data | None = None) -> None:
        del doc_id
        if "$" in collection or collection.startswith("system.") or not all(collection.split(".")):
            raise ValidationError(
                f"collection is {collection!r}: MongoDB allows no '$', no 'system.' at the "
                "beginning, and no dot without text before and after it"
            )
        for name in data or ():
            if name == "_id" or name.startswith("$"):
                raise ValidationError(
                    f"data has the field {name!r}: in MongoDB a field must not be '_id' or begin "
                    "with '$'"
                )

    async def close(self) -> None:
        self._closed = True
        if self._made is not None:
            await _settled(self._made.close())

    async def _ask(self, call: Callable[[], T | Awaitable[T]]) -> Any:
        with self._failures.ours():
            return await _settled(call())


async def _settled(result: T | Awaitable[T]) -> T:
    """Return the result of a call. The async client's is awaited."""
    return await result if isinstance(result, Awaitable) else result


def _explained(error: Exception) -> LakebedError:
    from pymongo.errors import BulkWriteError, PyMongoError

    code = getattr(error, "code", None)
    if isinstance(error, BulkWriteError):
        codes = {one.get("code") for one in (error.details or {}).get("writeErrors", ())}
        code = min(codes & _OVERTAKEN, default=code)
    transient = isinstance(error, PyMongoError) and error.has_error_label(
        "TransientTransactionError"
    )
    if code in _OVERTAKEN or (transient and code is not None):
        return OvertakenError(f"MongoDB: another program has written the same documents: {code}")
    if code == _NO_TRANSACTIONS:
        return ConfigurationError(
            "this MongoDB has no transactions, because it is not a replica set: only single "
            "documents are written all or nothing (for a batch pass atomic=False)"
        )
    return explained(error)


def _overtaken(key: Key) -> OvertakenError:
    return OvertakenError(f"{key[1]!r} in {key[0]!r} was changed meanwhile")
