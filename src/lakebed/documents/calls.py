"""The calls of every store, implemented once. They raise errors."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import iscoroutine
from typing import Any, TypeVar

from lakebed.documents import changes
from lakebed.documents.backend import Key, OvertakenError, Write
from lakebed.documents.data import Content, Data, check_collection
from lakebed.documents.fields import has_field_values
from lakebed.documents.query.query import Query, Stored, check_number, read_query
from lakebed.documents.reading import Filters, Reading
from lakebed.documents.transaction import TransactionCalls
from lakebed.errors import ConflictError, LakebedError, ValidationError
from lakebed.reporting import Result

T = TypeVar("T")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.004, 0.5  # seconds
_CHUNK = 100  # the documents in one write of a batch that is not atomic


class Calls(Reading):
    """The calls of a store over a backend."""

    @property
    def name(self) -> str:
        """The name of the database for people, without secrets."""
        return self._backend.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    async def set_document(
        self, collection: str, doc_id: str, data: Mapping[str, Any], merge: bool = False
    ) -> Result:
        """Store a document: `{success, doc_id, collection, created}`."""
        key = self._key(collection, doc_id)
        if not isinstance(merge, bool):
            raise ValidationError(f"merge must be True or False, got {type(merge).__name__}")
        if not merge and isinstance(data, Mapping) and not has_field_values(data):
            return await self._put(key, data)
        now = await self._time(data)
        if merge:
            new = await self._change(key, changes.merge(data, now))
        else:
            return await self._put(key, changes.replacement(data, now))
        return {"success": True, "doc_id": key[1], "collection": key[0], "created": new}

    async def update_document(
        self, collection: str, doc_id: str, data: Mapping[str, Any]
    ) -> Result:
        """Change fields of a document: `{success, doc_id, collection, updated}`."""
        key = self._key(collection, doc_id)
        await self._change(key, changes.update(*key, data, await self._time(data)))
        return {"success": True, "doc_id": key[1], "collection": key[0], "updated": True}

    async def delete_document(self, collection: str, doc_id: str) -> Result:
        """Delete a document: `{success, deleted, doc_id, collection}`."""
        key = self._key(collection, doc_id)
        deleted = await self._repeated(lambda: self._backend.delete(*key))
        return {"success": True, "deleted": deleted, "doc_id": key[1], "collection": key[0]}

    async def batch_set(
        self, documents: Iterable[Mapping[str, Any]], atomic: bool = True
    ) -> Result:
        """Store many documents: `{success, count}`."""
        given = _items(documents, ("collection", "doc_id", "data"))
        now = await self._time({str(i): one["data"] for i, one in enumerate(given)})

        def write(one: Mapping[str, Any]) -> Write:
            key = self._key(one["collection"], one["doc_id"])
            return Write(key, self._content(key, changes.replacement(one["data"], now)))

        return await self._write(_each(given, write), atomic)

    async def batch_delete(
        self, documents: Iterable[Mapping[str, Any]], atomic: bool = True
    ) -> Result:
        """Delete many documents: `{success, count}`."""
        given = _items(documents, ("collection", "doc_id"))

        def write(one: Mapping[str, Any]) -> Write:
            return Write(self._key(one["collection"], one["doc_id"]), None)

        return await self._write(_each(given, write), atomic)

    async def count(self, collection: str, filters: Filters | None = None) -> Result:
        """Count the matching documents: `{success, count}`."""
        self._backend.check(check_collection(collection))
        query = read_query(collection, filters, None, None, 0)
        return {
            "success": True,
            "count": await self._repeated(lambda: self._backend.count(query)),
        }

    async def search(
        self,
        collection: str,
        text: str,
        filters: Filters | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> Result:
        """Return the documents that have words of a text: `{success, results: [{doc_id, data,
        score}], count, total}`."""
        from lakebed.values.text import query_words  # loads the stemmer

        self._backend.check(check_collection(collection))
        if not isinstance(text, str):
            raise ValidationError(f"text must be a string, got {type(text).__name__}")
        check_number("limit", limit)
        query = read_query(collection, filters, None, limit, offset)
        words = query_words(text)
        page: list[Result] = []
        total = 0
        if words:
            found = await self._repeated(lambda: self._backend.search(query, text, words))
            total = found.total
            page = [
                {"doc_id": one.document.doc_id, "data": one.document.data, "score": one.score}
                for one in found.page
            ]
        return {"success": True, "results": page, "count": len(page), "total": total}

    async def list_collections(self) -> Result:
        """List the collections that hold documents: `{success, collections, count}`."""
        names = await self._repeated(self._backend.collections)
        return {"success": True, "collections": names, "count": len(names)}

    async def run_transaction(
        self, fn: Callable[[Any], Any], wrap: Callable[[TransactionCalls], Any] | None = None
    ) -> Result:
        """Run a function that reads and then writes: `{success, result}`."""
        if not callable(fn):
            raise ValidationError(f"fn must be a function, got {type(fn).__name__}")

        async def once() -> object:
            async with self._backend.transaction() as reads:
                tx = TransactionCalls(self._backend, reads)
                try:
                    result = await self._called(fn, tx if wrap is None else wrap(tx))
                except Exception:
                    if tx.overtaken is not None:  # even if `fn` returned or raised something else
                        raise tx.overtaken from tx.overtaken.__cause__
                    raise
                finally:
                    tx.end()
                await reads.commit(tx.writes())
                return result

        return {"success": True, "result": await self._repeated(once)}

    async def _called(self, fn: Callable[[Any], Any], tx: object) -> object:
        result = fn(tx)
        if not isinstance(result, Awaitable):
            return result
        if self._backend.blocking:
            if iscoroutine(result):
                result.close()
            raise ValidationError("fn must be a plain function: a coroutine needs an async store")
        return await result

    async def close(self) -> None:
        """Close the connections."""
        await self._backend.close()

    # What the calls share

    async def _get(self, collection: str, doc_id: str) -> Data | None:
        found = await self._repeated(lambda: self._backend.get(collection, doc_id))
        return None if found is None else found.data

    async def _query(self, query: Query) -> list[Stored]:
        return await self._repeated(lambda: self._backend.query(query))

    async def _put(self, key: Key, data: Mapping[str, Any]) -> Result:
        content = self._content(key, data)
        new = await self._repeated(lambda: self._backend.put(*key, content))
        return {"success": True, "doc_id": key[1], "collection": key[0], "created": new}

    async def _change(self, key: Key, change: changes.Change) -> bool:
        def changed(old: Data | None) -> Content:
            return self._content(key, change(old))

        return await self._repeated(lambda: self._backend.change(*key, changed))

    async def _write(self, writes: Mapping[Key, Write], atomic: bool) -> Result:
        if not isinstance(atomic, bool):
            raise ValidationError(f"atomic must be True or False, got {type(atomic).__name__}")
        every = list(writes.values())
        most = self._backend.most_writes
        if atomic and most is not None and len(every) > most:
            raise ValidationError(
                f"documents has {len(every)} elements, but {self._backend.name} writes at most "
                f"{most} all or none: pass atomic=False"
            )
        size = max(len(every), 1) if atomic else min(_CHUNK, most or _CHUNK)
        for first in range(0, len(every), size):
            chunk = every[first : first + size]
            if atomic:
                await self._repeated(lambda: self._backend.commit({}, chunk))  # noqa: B023
            else:
                await self._repeated(lambda: self._backend.write(chunk))  # noqa: B023
        return {"success": True, "count": len(every)}

    async def _repeated(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of `work`. If it fails for a temporary reason, repeat it after a pause
        that grows each time."""
        pause, began = _FIRST_PAUSE, 0.0
        while True:
            try:
                return await work()
            except LakebedError as error:
                if not self._backend.is_repeatable(error):
                    raise
                began = began or time.monotonic()
                if time.monotonic() - began > self._backend.timeout:
                    raise _worn_out(error, self._backend.timeout) from error.__cause__
                await self._backend.recover(error)
            await self._backend.sleep(random.uniform(pause / 4, pause))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE)


def _worn_out(error: LakebedError, seconds: float) -> LakebedError:
    if not isinstance(error, OvertakenError):
        return error
    return ConflictError(
        f"other programs kept changing the same documents for {seconds:g} seconds; nothing was "
        "written"
    )


def _items(documents: object, fields: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """Return the mappings of a batch. If one is malformed, raise a ValidationError that names its
    place."""
    if isinstance(documents, (str, bytes, Mapping)) or not isinstance(documents, Iterable):
        raise ValidationError(
            f"documents must be a list of mappings, got {type(documents).__name__}"
        )
    found = []
    for index, one in enumerate(documents):
        if not isinstance(one, Mapping) or set(one) != set(fields):
            raise ValidationError(
                f"documents[{index}] must be a mapping with {', '.join(fields)} and nothing else"
            )
        found.append(one)
    return found


def _each(
    given: Iterable[Mapping[str, Any]], write: Callable[[Mapping[str, Any]], Write]
) -> dict[Key, Write]:
    """Return what to write by document. If there are errors, raise the first one; its `errors` has
    all of them by their places."""
    writes: dict[Key, Write] = {}
    errors: dict[str, LakebedError] = {}
    for index, one in enumerate(given):
        try:
            made = write(one)
            writes[made.key] = made
        except LakebedError as error:
            errors[f"documents[{index}]"] = error
    if errors:
        first = next(iter(errors.values()))
        first.errors = errors
        raise first
    return writes
