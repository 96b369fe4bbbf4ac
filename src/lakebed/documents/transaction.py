"""The calls of a transaction. Its writes wait until its end. Its own reads see them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakebed.documents import changes
from lakebed.documents.backend import Backend, Key, Reads, Write
from lakebed.documents.data import Content, Data
from lakebed.documents.query.query import Query, Stored
from lakebed.documents.reading import Reading
from lakebed.errors import LakebedError, ValidationError
from lakebed.reporting import Result, failure


class TransactionCalls(Reading):
    """The calls of one transaction. They raise their errors."""

    def __init__(self, backend: Backend, reads: Reads) -> None:
        super().__init__(backend)
        self._reads = reads
        self._written: dict[Key, Content | None] = {}
        self.overtaken: LakebedError | None = None
        """The error for which the whole transaction is repeated, whatever `fn` returned."""
        self._refused: LakebedError | None = None
        self._ended = False

    async def set_document(
        self, collection: str, doc_id: str, data: Mapping[str, Any], merge: bool = False
    ) -> Result:
        """Store a document at the end: `{success, doc_id, collection, created}`."""
        key = self._key(collection, doc_id)
        now = await self._time(data)
        if merge:
            new = await self._change(key, changes.merge(data, now))
        else:
            replacement = changes.replacement(data, now)
            new = await self._change(key, lambda _old: replacement)
        return {"success": True, "doc_id": key[1], "collection": key[0], "created": new}

    async def update_document(
        self, collection: str, doc_id: str, data: Mapping[str, Any]
    ) -> Result:
        """Change fields of a document at the end: `{success, doc_id, collection, updated}`."""
        key = self._key(collection, doc_id)
        await self._change(key, changes.update(*key, data, await self._time(data)))
        return {"success": True, "doc_id": key[1], "collection": key[0], "updated": True}

    async def delete_document(self, collection: str, doc_id: str) -> Result:
        """Delete a document at the end: `{success, deleted, doc_id, collection}`."""
        key = self._key(collection, doc_id)
        there = await self._get(*key) is not None
        self._written[key] = None
        return {"success": True, "deleted": there, "doc_id": key[1], "collection": key[0]}

    def refuse(self, error: LakebedError) -> Result:
        """Return the result of a call that failed. The whole transaction then fails with this
        error, because the caller may not have looked at the result."""
        self._refused = self._refused or error
        return failure(error)

    def end(self) -> None:
        """Refuse all further calls."""
        self._ended = True

    def writes(self) -> list[Write]:
        """Return what to write. Raises the error of a call that failed, if there is one."""
        error = self.overtaken or self._refused
        if error is not None:
            raise error from error.__cause__
        return [Write(key, content) for key, content in self._written.items()]

    async def _change(self, key: Key, change: changes.Change) -> bool:
        old = await self._get(*key)
        self._written[key] = self._content(key, change(old))
        return old is None

    async def _get(self, collection: str, doc_id: str) -> Data | None:
        self._check_open()
        key = (collection, doc_id)
        if key in self._written:
            content = self._written[key]
            return None if content is None else content.data
        try:
            found = await self._reads.get(collection, doc_id)
        except LakebedError as error:
            raise self._noted(error) from error.__cause__
        return None if found is None else found.data

    async def _query(self, query: Query) -> list[Stored]:
        self._check_open()
        mine = {key[1]: data for key, data in self._written.items() if key[0] == query.collection}
        try:
            found = await self._reads.query(query.every() if mine else query)
        except LakebedError as error:
            raise self._noted(error) from error.__cause__
        if not mine:
            return found
        others = [one for one in found if one.doc_id not in mine]
        return query.answer(
            [*others, *(Stored(doc_id, held.data) for doc_id, held in mine.items() if held)]
        )

    def _noted(self, error: LakebedError) -> LakebedError:
        if self._backend.is_repeatable(error):
            self.overtaken = self.overtaken or error
        return error

    def _check_open(self) -> None:
        if self._ended:
            raise ValidationError("the transaction has ended: use it only inside the function")
