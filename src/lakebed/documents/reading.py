"""The reading calls of a store and of its transactions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

from lakebed.documents.backend import Backend, Key
from lakebed.documents.data import Content, Data, check_collection, check_doc_id, content_of
from lakebed.documents.fields import needs_time
from lakebed.documents.query.ordering import Start, read_values
from lakebed.documents.query.query import Query, Stored, read_query, read_select, selected
from lakebed.errors import NotFoundError, ValidationError
from lakebed.reporting import Result

Filters = Sequence[tuple[str, str, Any]]
Ordering = Sequence[tuple[str, str]]
StartAfter = str | Mapping[str, Any]


class Reading(ABC):
    """The reading calls. Subclasses implement `_get` and `_query`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @abstractmethod
    async def _get(self, collection: str, doc_id: str) -> Data | None: ...

    @abstractmethod
    async def _query(self, query: Query) -> list[Stored]: ...

    def _key(self, collection: object, doc_id: object) -> Key:
        key = check_collection(collection), check_doc_id(doc_id)
        self._backend.check(*key)
        return key

    def _content(self, key: Key, data: object) -> Content:
        content = content_of(data)
        self._backend.check(*key, content.data)
        return content

    async def _time(self, data: object) -> str:
        """Return the time of the store as text, if any field needs it."""
        if not needs_time(data):
            return ""
        return (await self._backend.now()).astimezone(UTC).isoformat(timespec="microseconds")

    async def get_document(self, collection: str, doc_id: str) -> Result:
        """Return a document: `{success, exists, data, doc_id}`."""
        key = self._key(collection, doc_id)
        data = await self._get(*key)
        return {"success": True, "exists": data is not None, "data": data, "doc_id": key[1]}

    async def document_exists(self, collection: str, doc_id: str) -> Result:
        """Return whether a document exists: `{success, exists}`."""
        data = await self._get(*self._key(collection, doc_id))
        return {"success": True, "exists": data is not None}

    async def query(
        self,
        collection: str,
        filters: Filters | None = None,
        order_by: Ordering | None = None,
        limit: int | None = 100,
        offset: int = 0,
        start_after: StartAfter | None = None,
        select: Sequence[str] | None = None,
    ) -> Result:
        """Return the matching documents: `{success, results: [{doc_id, data}], count}`."""
        self._backend.check(check_collection(collection))
        query = read_query(collection, filters, order_by, limit, offset)
        paths = read_select(select)
        query = replace(query, start=await self._start(query, start_after))
        results = [
            {"doc_id": found.doc_id, "data": selected(found.data, paths)}
            for found in await self._query(query)
        ]
        return {"success": True, "results": results, "count": len(results)}

    async def _start(self, query: Query, start_after: object) -> Start | None:
        if start_after is None:
            return None
        if isinstance(start_after, Mapping):
            return Start(read_values(start_after, query.orders), None)
        if not isinstance(start_after, str):
            raise ValidationError(
                "start_after must be a doc_id, or a mapping from fields of order_by to values, "
                f"got {type(start_after).__name__}"
            )
        doc_id = check_doc_id(start_after)
        if not query.orders:
            return Start((), doc_id)
        data = await self._get(query.collection, doc_id)
        if data is None:
            raise NotFoundError(f"start_after: no document {doc_id!r} in {query.collection!r}")
        return Start(tuple(order.place(data) for order in query.orders), doc_id)
