"""The store of documents. It has the same calls on every database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from lakebed.documents.backend import Backend
from lakebed.documents.calls import Calls
from lakebed.documents.driving import raising, run, telling
from lakebed.documents.fields import (
    ArrayRemove,
    ArrayUnion,
    DeleteField,
    FieldValue,
    Increment,
    ServerTimestamp,
)
from lakebed.documents.reading import Filters, Ordering, StartAfter
from lakebed.documents.transaction import TransactionCalls
from lakebed.reporting import Result, reported


class FieldValues:
    """Makes field values for `set_document`, `update_document` and `batch_set`. Give them in place
    of a value, to change the value that the document has."""

    @staticmethod
    def server_timestamp() -> FieldValue:
        """Set the field to the time of the store, as text that sorts by time: ISO 8601 in UTC, with
        microseconds.

        It is the time of the database. DynamoDB does not tell its time, so there it is the time of
        this machine.
        """
        return ServerTimestamp()

    @staticmethod
    def delete_field() -> FieldValue:
        """Remove the field: in `update_document`, and in `set_document` with `merge=True`."""
        return DeleteField()

    @staticmethod
    def increment(n: int | float = 1) -> FieldValue:
        """Add `n` to the number in the field. A missing field counts as 0.

        If several programs add at once, no addition is lost. Raises ValidationError if `n` is not a
        finite number.
        """
        return Increment(n)

    @staticmethod
    def array_union(values: Iterable[Any]) -> FieldValue:
        """Append the values that the list lacks. A missing field counts as an empty list."""
        return ArrayUnion(values)

    @staticmethod
    def array_remove(values: Iterable[Any]) -> FieldValue:
        """Remove all elements of the list that equal one of the values."""
        return ArrayRemove(values)


class MetadataStore(FieldValues, ABC):
    """Collections of documents: JSON objects, each with an id.

    `create_metadata_store` makes a store. Every result is a dictionary with `success`. If it is
    False, `error` says why and `error_type` names the kind of error (see `lakebed.errors`). The
    attribute `documents` has the same calls with the same results, but they raise errors.

    A store connects with its first call. You can use it from any thread. Close it, or use it in a
    `with` block. To add a store for another database, subclass this class and pass your `Backend`.
    """

    @abstractmethod
    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._calls = Calls(backend)
        self.documents = Documents(self._calls)

    @reported
    def set_document(
        self, collection: str, doc_id: str, data: Mapping[str, Any], merge: bool = False
    ) -> Result:
        """Store a document, replacing one with this id: `{success, doc_id, collection, created}`.

        `collection`: 1 to 100 bytes in UTF-8. `doc_id`: 1 to 500 bytes. `data`: a dict of JSON
        types, up to 20 levels deep and 1 MiB. `merge`: keep the fields that `data` does not name.
        Objects in both are merged in the same way.

        For an invalid argument, the error type is `validation_error` or `serialization_error`, and
        `error` names the place.
        """
        return run(self._calls.set_document(collection, doc_id, data, merge))

    @reported
    def get_document(self, collection: str, doc_id: str) -> Result:
        """Return a document: `{success, exists, data, doc_id}`.

        If the document does not exist, `exists` is False and `data` is None. The order of fields is
        not kept.
        """
        return run(self._calls.get_document(collection, doc_id))

    @reported
    def update_document(self, collection: str, doc_id: str, data: Mapping[str, Any]) -> Result:
        r"""Change fields of a document: `{success, doc_id, collection, updated}`.

        `data`: new values by dotted paths (`{"address.city": "Ulm"}`). `\.` is a dot inside a name.
        If the document does not exist, the error type is `not_found`.
        """
        return run(self._calls.update_document(collection, doc_id, data))

    @reported
    def delete_document(self, collection: str, doc_id: str) -> Result:
        """Delete a document: `{success, deleted, doc_id, collection}`.

        If the document does not exist, `deleted` is False.
        """
        return run(self._calls.delete_document(collection, doc_id))

    @reported
    def document_exists(self, collection: str, doc_id: str) -> Result:
        """Return whether a document exists: `{success, exists}`."""
        return run(self._calls.document_exists(collection, doc_id))

    @reported
    def query(
        self,
        collection: str,
        filters: Filters | None = None,
        order_by: Ordering | None = None,
        limit: int | None = 100,
        offset: int = 0,
        start_after: StartAfter | None = None,
        select: Sequence[str] | None = None,
    ) -> Result:
        """Return the documents that match all filters: `{success, results: [{doc_id, data}],
        count}`.

        - `filters`: a list of `(field, operator, value)`. The operators are `==`, `!=`, `<`, `<=`,
          `>`, `>=`, `in`, `not-in`, `array-contains` and `array-contains-any`. A missing field
          matches no filter, and null does not match `!=` and `not-in`. `<` and its like compare
          only numbers with numbers and strings with strings.
        - `order_by`: a list of `(field, "asc" | "desc")`. Ties are in the order of ids, and so are
          all documents without `order_by`. The order of kinds of values is: missing, null,
          booleans, numbers, strings, lists, objects.
        - `limit`: the most results; None means all. `offset`: how many to skip.
        - `start_after`: start after the document with this id. Or a mapping from fields of
          `order_by` to values: start after all documents with these values.
        - `select`: the fields to return of each document, as dotted paths.
        """
        return run(
            self._calls.query(collection, filters, order_by, limit, offset, start_after, select)
        )

    @reported
    def search(
        self,
        collection: str,
        text: str,
        filters: Filters | None = None,
        limit: int = 10,
        offset: int = 0,
    ) -> Result:
        """Return the documents whose strings have any word of a text, the best first:
        `{success, results: [{doc_id, data, score}], count, total}`.

        Postgres uses its own English text search, and a lake its index. For the other databases,
        all documents of the collection are read and ranked here. Compare scores only within one
        result. `total` is the number of all matches. `filters` are as for `query`. `limit`: the
        most results. `offset`: how many to skip.
        """
        return run(self._calls.search(collection, text, filters, limit, offset))

    @reported
    def count(self, collection: str, filters: Filters | None = None) -> Result:
        """Count the matching documents: `{success, count}`. `filters` are as for `query`."""
        return run(self._calls.count(collection, filters))

    @reported
    def list_collections(self) -> Result:
        """List the collections that hold documents: `{success, collections, count}`."""
        return run(self._calls.list_collections())

    @reported
    def batch_set(self, documents: Iterable[Mapping[str, Any]], atomic: bool = True) -> Result:
        """Store many documents: `{success, count}`.

        `documents`: mappings with `collection`, `doc_id` and `data`. All of them are checked before
        any is written. If some are invalid, `errors` maps the place of each, such as
        `documents[3]`, to what is wrong. `atomic`: write all or none (in DynamoDB at most 100).
        Otherwise documents are written in groups of 100, and the groups before a failure stay.
        """
        return run(self._calls.batch_set(documents, atomic))

    @reported
    def batch_delete(self, documents: Iterable[Mapping[str, Any]], atomic: bool = True) -> Result:
        """Delete many documents: `{success, count}`. A missing document is not an error.

        `documents`: mappings with `collection` and `doc_id`. `atomic` is as for `batch_set`.
        """
        return run(self._calls.batch_delete(documents, atomic))

    @reported
    def run_transaction(self, fn: Callable[[Transaction], Any]) -> Result:
        """Run `fn(tx)`, which reads and then writes all or none: `{success, result}`.

        `tx` has the calls `get_document`, `document_exists`, `query`, `set_document`,
        `update_document` and `delete_document`. The reads of `tx` see its writes at once. Others
        see them at the end. If another program changes a document that `fn` has read, `fn` runs
        again, so it should have no other effects. If a call of `tx` fails, the transaction fails.
        If `fn` raises, nothing is written. An error of Lakebed becomes the result, and any other
        error is raised.
        """
        return run(self._calls.run_transaction(fn, Transaction))

    def close(self) -> None:
        """Close the connections. Closing again does nothing."""
        run(self._calls.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._backend.name}>"


class Documents:
    """The calls of a `MetadataStore`, with the same results. They raise the errors of
    `lakebed.errors`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    set_document = raising(Calls.set_document)
    get_document = raising(Calls.get_document)
    update_document = raising(Calls.update_document)
    delete_document = raising(Calls.delete_document)
    document_exists = raising(Calls.document_exists)
    query = raising(Calls.query)
    search = raising(Calls.search)
    count = raising(Calls.count)
    list_collections = raising(Calls.list_collections)
    batch_set = raising(Calls.batch_set)
    batch_delete = raising(Calls.batch_delete)

    def run_transaction(self, fn: Callable[[DocumentsTransaction], Any]) -> Result:
        """Run `fn(tx)`, as `MetadataStore.run_transaction` does."""
        return run(self._calls.run_transaction(fn, DocumentsTransaction))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._calls.name}>"


class Transaction(FieldValues):
    """The transaction that `MetadataStore.run_transaction` passes to `fn`. Its results and errors
    are dictionaries, like those of the store."""

    def __init__(self, calls: TransactionCalls) -> None:
        self._calls = calls
        self._refused = calls.refuse

    get_document = telling(TransactionCalls.get_document)
    document_exists = telling(TransactionCalls.document_exists)
    query = telling(TransactionCalls.query)
    set_document = telling(TransactionCalls.set_document)
    update_document = telling(TransactionCalls.update_document)
    delete_document = telling(TransactionCalls.delete_document)


class DocumentsTransaction(FieldValues):
    """The transaction that `documents.run_transaction` passes to `fn`. Its calls raise errors."""

    def __init__(self, calls: TransactionCalls) -> None:
        self._calls = calls

    get_document = raising(TransactionCalls.get_document)
    document_exists = raising(TransactionCalls.document_exists)
    query = raising(TransactionCalls.query)
    set_document = raising(TransactionCalls.set_document)
    update_document = raising(TransactionCalls.update_document)
    delete_document = raising(TransactionCalls.delete_document)
