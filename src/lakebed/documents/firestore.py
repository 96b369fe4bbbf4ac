"""Documents in Google's Firestore, as documents of its own.

Firestore keeps the time of a document's last change. If that is the same, the document has not
changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from lakebed.catalog.log.stores.failures import Failures
from lakebed.catalog.log.stores.firestore import explained
from lakebed.documents import options
from lakebed.documents.async_store import AsyncMetadataStore
from lakebed.documents.backend import Backend, Key, OvertakenError, Seen, Write
from lakebed.documents.data import Content, Data, identical
from lakebed.documents.query.conditions import Condition
from lakebed.documents.query.query import Query, Stored
from lakebed.documents.store import MetadataStore
from lakebed.documents.threads import ThreadedBackend
from lakebed.errors import (
    CatalogError,
    DependencyMissingError,
    LakebedError,
    RateLimitedError,
    ValidationError,
)

_RESERVED = re.compile(r"__.*__", re.DOTALL)
_MOST_VALUES = 30  # the most values of `in` and `array_contains_any`
_ID = "__name__"


class FirestoreBackend(Backend):
    """The collections of one database. `client`: a function that makes Google's client."""

    def __init__(self, client: Callable[[], Any], name: str, *, timeout: float) -> None:
        from google.api_core.exceptions import GoogleAPIError, ServiceUnavailable
        from google.api_core.retry import Retry, if_exception_type
        from google.auth.exceptions import GoogleAuthError

        self.timeout = timeout
        self._make = client
        self._made: Any = None
        self._name = name
        self._lock = Lock()
        self._closed = False
        passing = Retry(predicate=if_exception_type(ServiceUnavailable), timeout=timeout)
        self._again: Any = {"timeout": timeout, "retry": passing}
        # Never repeat a conditional commit whose answer was lost: it may have succeeded.
        self._once: Any = {"timeout": timeout, "retry": None}
        # The client raises OSError if no project is named, and ValueError for a transaction that
        # another program has overtaken.
        kinds = (GoogleAPIError, GoogleAuthError, OSError, ValueError)
        self._failures = Failures(kinds, _explained, str)

    @property
    def name(self) -> str:
        return self._name

    async def get(self, collection: str, doc_id: str) -> Stored | None:
        with self._failures.ours():
            found = self._document((collection, doc_id)).get(**self._again)
            return _stored(found) if found.exists else None

    async def put(self, collection: str, doc_id: str, content: Content) -> bool:
        from google.api_core.exceptions import AlreadyExists

        with self._failures.ours():
            document = self._document((collection, doc_id))
            try:
                document.create(content.data, **self._again)
            except AlreadyExists:
                document.set(content.data, **self._again)
                return False
            return True

    async def delete(self, collection: str, doc_id: str) -> bool:
        from google.api_core.exceptions import NotFound

        with self._failures.ours():
            there = self._client().write_option(exists=True)
            try:
                self._document((collection, doc_id)).delete(option=there, **self._again)
            except NotFound:
                return False
            return True

    async def commit(self, seen: Seen, writes: Sequence[Write]) -> None:
        with self._failures.ours():
            client = self._client()
            batch = client.batch()
            for write in writes:
                self._add(batch, write, seen)
            written = {write.key for write in writes if _changes(write, seen)}
            if seen.keys() <= written:
                batch.commit(**(self._once if seen else self._again))
            else:
                self._commit_after_reading(client, seen, writes)

    def _commit_after_reading(self, client: Any, seen: Seen, writes: Sequence[Write]) -> None:
        """Write in a transaction, which first checks the documents that were seen but are not
        written. Raises OvertakenError if one has changed."""
        from google.cloud.firestore import transactional

        @transactional  # type: ignore[untyped-decorator]
        def run(transaction: Any) -> None:
            documents = [self._document(key) for key in seen]
            for now in client.get_all(documents, transaction=transaction, **self._again):
                key = (now.reference.parent.id, now.id)
                found = seen[key]
                if (found.version if found else None) != now.update_time:
                    raise OvertakenError(f"{key[1]!r} in {key[0]!r} was changed meanwhile")
            for write in writes:
                self._add(transaction, write, seen)

        run(client.transaction(max_attempts=1))

    def _add(self, batch: Any, write: Write, seen: Seen) -> None:
        from google.cloud.firestore import DELETE_FIELD

        document, content = self._document(write.key), write.content
        found = seen.get(write.key)
        if found is None:
            if content is None:
                batch.delete(document)
            elif write.key in seen:
                batch.create(document, content.data)
            else:
                batch.set(document, content.data)
            return
        same = self._client().write_option(last_update_time=found.version)
        if content is None:
            batch.delete(document, option=same)
            return
        changed = {
            _path((name,)): content.data.get(name, DELETE_FIELD)
            for name in _changed(found.data, content.data)
        }
        if changed:
            batch.update(document, changed, option=same)

    async def query(self, query: Query) -> list[Stored]:
        with self._failures.ours():
            filters, by_id = _narrowing(query.conditions)
            asked = self._client().collection(query.collection)
            for one in filters:
                asked = asked.where(filter=one)
            if by_id and query.start is not None and not query.orders and query.start.doc_id:
                start = self._document((query.collection, query.start.doc_id))
                asked = asked.order_by(_ID).start_after({_ID: start})
            stream = asked.stream(**self._again)
            return query.answer(self._read(stream), sorted_by_id=by_id)

    @staticmethod
    def _read(stream: Any) -> Iterator[Stored]:
        try:
            yield from map(_stored, stream)
        finally:
            stream.close()

    async def collections(self) -> list[str]:
        with self._failures.ours():
            return sorted(one.id for one in self._client().collections(**self._again))

    async def now(self) -> datetime:
        with self._failures.ours():
            told = self._document(("lakebed", "now")).get(**self._again).read_time
            return datetime.fromtimestamp(told.timestamp(), UTC)

    def check(self, collection: str, doc_id: str | None = None, data: Data | None = None) -> None:
        for field, name in (("collection", collection), ("doc_id", doc_id)):
            if name is not None and ("/" in name or name in (".", "..") or _is_reserved(name)):
                raise ValidationError(
                    f"{field} is {name!r}: Firestore allows no '/', not '.' or '..', and no name "
                    "that begins and ends with '__'"
                )
        _check(data, "$")

    def is_repeatable(self, error: LakebedError) -> bool:
        return isinstance(error, (OvertakenError, RateLimitedError))

    async def close(self) -> None:
        self._closed = True
        if self._made is not None:
            self._made.close()

    def _document(self, key: Key) -> Any:
        return self._client().collection(key[0]).document(key[1])

    def _client(self) -> Any:
        if self._closed:
            raise CatalogError("the store is closed")
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


def _explained(error: Exception) -> LakebedError:
    from google.api_core import exceptions as google

    overtaken = (google.FailedPrecondition, google.AlreadyExists, google.NotFound, google.Aborted)
    lost = isinstance(error, ValueError) and isinstance(error.__cause__, google.Aborted)
    if isinstance(error, overtaken) or lost:
        return OvertakenError(f"Firestore: another program has written the same documents: {error}")
    if isinstance(error, google.InvalidArgument):
        return ValidationError(f"Firestore cannot hold this: {error.message}")
    return explained(error)


def _stored(snapshot: Any) -> Stored:
    data = {name: _plain(value) for name, value in snapshot.to_dict().items()}
    return Stored(snapshot.id, data, snapshot.update_time)


def _plain(value: Any) -> Any:
    """Return a value as JSON. Other programs can have stored times, references and other types."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(getattr(value, "path", value))


def _changed(old: Data, new: Data) -> list[str]:
    """Return the names of the fields that differ."""
    return [
        name
        for name in {**old, **new}
        if name not in old or name not in new or not identical(old[name], new[name])
    ]


def _changes(write: Write, seen: Seen) -> bool:
    """Return whether a write changes anything in Firestore. Only such a write can have a
    condition."""
    found = seen.get(write.key)
    if write.content is None:
        return found is not None
    return found is None or bool(_changed(found.data, write.content.data))


def _is_reserved(name: str) -> bool:
    return _RESERVED.fullmatch(name) is not None


def _can_be_named(field: str) -> bool:
    """Return whether Firestore accepts a field's name and can find it in queries."""
    return not _is_reserved(field) and "\r" not in field


def _check(value: object, path: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not _can_be_named(name):
                raise ValidationError(
                    f"{path} has the field {name!r}: Firestore reserves names that begin and end "
                    "with '__', and cannot find names with a carriage return"
                )
            _check(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, list):
                raise ValidationError(
                    f"{path} has a list in a list, which Firestore cannot hold: put an object "
                    "between them"
                )
            _check(item, f"{path}[]")


def _path(path: Sequence[str]) -> str:
    from google.cloud.firestore_v1.field_path import FieldPath

    text: str = FieldPath(*path).to_api_repr()
    return text


def _narrowing(conditions: Sequence[Condition]) -> tuple[list[Any], bool]:
    """Return the filters to send, and whether the results come in the order of ids.

    They are all equalities, or else one other filter. Firestore answers these without an index that
    users must create.
    """
    possible = [made for one in conditions if (made := _filter(one))]
    equalities = [made for made in possible if made.op_string == "=="]
    if equalities or not possible:
        return equalities, True
    return possible[:1], False


def _filter(condition: Condition) -> Any:
    """Return a filter of Firestore that finds at least all matches of a condition, or None if there
    is none."""
    from google.cloud.firestore_v1.base_query import FieldFilter

    path, operator, value = condition.path, condition.operator, condition.value
    if not all(map(_can_be_named, path)) or not _can_be_asked(value):
        return None
    field = _path(path)
    if operator in ("==", "<=", ">="):
        return FieldFilter(field, operator, value)
    # Firestore may compare an integer as a float, which can equal that of another integer.
    if operator in ("<", ">"):
        return FieldFilter(field, f"{operator}=", value)
    if operator == "array-contains" and value is not None and not isinstance(value, list):
        return FieldFilter(field, "array_contains", value)
    asks = {"in": "in", "array-contains-any": "array_contains_any"}
    if operator in asks and 0 < len(value) <= _MOST_VALUES and None not in value:
        return FieldFilter(field, asks[operator], value)
    return None


def _can_be_asked(value: object) -> bool:
    try:
        _check(value, "")
    except ValidationError:
        return False
    return True


def _backend(project: object, database: object, timeout: object) -> FirestoreBackend:
    try:
        from google.cloud.firestore import Client
    except ImportError as error:
        raise DependencyMissingError(
            "a store in Firestore needs the google-cloud-firestore package: "
            "pip install 'lakebed[firestore]'"
        ) from error
    named = options.optional_text("project", project)
    holder = options.optional_text("database", database)
    wait = options.seconds("timeout", timeout)
    name = f"firestore:{named or 'the usual project'}{f'/{holder}' if holder else ''}"
    return FirestoreBackend(lambda: Client(project=named, database=holder), name, timeout=wait)


class FirestoreMetadataStore(MetadataStore):
    """Documents in Google's Firestore, as documents of its own.

    `project` and the credentials come from the environment if left out, as usual in Google Cloud.
    If FIRESTORE_EMULATOR_HOST is set, the store uses that emulator. `database`: the name of the
    database, if it is not the default one. `timeout`: seconds for one call.

    Firestore cannot hold a list directly inside a list, or names that begin and end with `__`.

    Raises ConfigurationError for an invalid option, and DependencyMissingError without the extra
    `firestore`.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        database: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(_backend(project, database, timeout))


class AsyncFirestoreMetadataStore(AsyncMetadataStore):
    """Documents in Firestore, for coroutines. Threads do the work.

    The options are those of `FirestoreMetadataStore`.
    """

    def __init__(
        self,
        project: str | None = None,
        *,
        database: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        super().__init__(ThreadedBackend(_backend(project, database, timeout)))
