"""LangGraph's stores.

An item there has a namespace, which is a tuple of labels, and a key. The key of its entry has the
labels and the key, with slashes between them. A slash inside a part is written `%2F`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, runtime_checkable

from lakebed.clock import system_clock, to_micros
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    StorageError,
    ValidationError,
)
from lakebed.moving.outside import Item, Outside, item_of
from lakebed.values.codec import decode_value

_PAGE = 1000
_MINUTE = 60_000_000
_INTEGERS = range(-(2**63), 2**64)  # LangGraph's stores can encode these
_ESCAPE = re.compile(r"%(?=2F|25)|/")
_ESCAPED = re.compile(r"%(2F|25)")
_COLUMNS = "prefix, key, value, created_at, updated_at, expires_at"


@runtime_checkable
class GraphStore(Protocol):
    """The part of LangGraph's `BaseStore` that a copy uses."""

    supports_ttl: bool

    def get(self, namespace: tuple[str, ...], key: str, **options: Any) -> Any: ...

    def batch(self, ops: Any) -> Any: ...

    def search(self, namespace_prefix: tuple[str, ...], /, **options: Any) -> Any: ...


class _Row(NamedTuple):
    """A row of the table in which the stores on databases keep their items."""

    prefix: str
    key: str
    value: Any
    created_at: Any
    updated_at: Any
    expires_at: Any


Rows = Callable[[str, tuple[str, ...]], Iterator[Sequence[Any]]]
"""Runs a query with its parameters, which the query marks by `?`."""


class LangGraphStore(Outside):
    """A LangGraph store. `namespace`: items below it are read, and items are written below it.

    `rows`: reads the table of a store in a database. Without it, the expiry of items is unknown.
    """

    tells_times = True
    precision = 1_000_000

    def __init__(
        self,
        store: GraphStore,
        namespace: tuple[str, ...] = (),
        *,
        name: str = "LangGraph's store",
        rows: Rows | None = None,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.tells_expiry = rows is not None
        self._store = store
        self._namespace = namespace
        self._rows = rows
        self._close = close

    def items(self, prefix: str) -> Iterator[Item]:
        found = self._by_search() if self._rows is None else self._by_table(self._rows)
        return (item for item in found if item.key.startswith(prefix))

    def _by_search(self) -> Iterator[Item]:
        seen = set[str]()
        offset = 0
        while page := self._store.search(
            self._namespace, limit=_PAGE, offset=offset, refresh_ttl=False
        ):
            for found in page:
                item = self._told(found)
                if item.key in seen:
                    raise ValidationError(
                        f"{self.name} changed during the copy: nobody may write to it meanwhile"
                    )
                seen.add(item.key)
                yield item
            offset += len(page)

    def _by_table(self, rows: Rows) -> Iterator[Item]:
        for found in rows(f"SELECT {_COLUMNS} FROM store ORDER BY prefix, key", ()):  # noqa: S608
            row = _Row._make(found)
            if self._is_below(tuple(row.prefix.split("."))):
                yield self._of_row(row)

    def find(self, keys: Sequence[str]) -> dict[str, Item]:
        found = dict[str, Item]()
        for key in keys:
            place = self._place(key)
            item = None if isinstance(place, str) else self._read(*place)
            if item is not None and not item.is_over(system_clock()):
                found[key] = item
        return found

    def _read(self, namespace: tuple[str, ...], name: str) -> Item | None:
        if self._rows is None:
            found = self._store.get(namespace, name, refresh_ttl=False)
            return None if found is None else self._told(found)
        sql = f"SELECT {_COLUMNS} FROM store WHERE prefix = ? AND key = ?"  # noqa: S608
        for row in self._rows(sql, (".".join(namespace), name)):
            return self._of_row(_Row._make(row))
        return None

    def refusal(self, item: Item) -> str | None:
        place = self._place(item.key)
        if isinstance(place, str):
            return place
        value = _value(item)
        if not isinstance(value, dict):
            return "has a value that is not an object"
        if not _fits(value):
            return "has an integer of more than 64 bits"
        if item.metadata != "{}":
            return "has metadata"
        if not self._store.supports_ttl and (item.expires_at or item.lives):
            return "expires, but the store has no expiry"
        return None

    def store(self, items: Sequence[Item]) -> None:
        from langgraph.store.base import PutOp

        puts = []
        for item in items:
            place = self._place(item.key)
            if isinstance(place, str):
                raise ValidationError(f"{self.name}: {item.key!r} {place}")
            lives = item.lives
            if item.expires_at is not None:
                lives = max(1, item.expires_at - system_clock())
            ttl = None if lives is None else lives / _MINUTE
            puts.append(PutOp(*place, _value(item), ttl=ttl))
        self._store.batch(puts)  # in one transaction, where the store has some

    def _place(self, key: str) -> tuple[tuple[str, ...], str] | str:
        """Return the namespace and key of an entry's item, or why there cannot be one."""
        parts = tuple(
            _ESCAPED.sub(lambda m: "/" if m[1] == "2F" else "%", p) for p in key.split("/")
        )
        namespace, name = self._namespace + parts[:-1], parts[-1]
        if _joined(parts) != key:
            return "has an escape, %25, that is not needed"
        if not namespace:
            return "has no slash: give a namespace, ?namespace=memory"
        if not all(parts):
            return "has an empty part between slashes"
        if any("." in label for label in parts[:-1]):
            return "has a dot before its last slash"
        if namespace[0] == "langgraph":
            return "begins with langgraph, which LangGraph reserves"
        return namespace, name

    def _is_below(self, namespace: tuple[str, ...]) -> bool:
        return namespace[: len(self._namespace)] == self._namespace

    def _key(self, namespace: Sequence[str], name: str) -> str:
        return _joined((*namespace[len(self._namespace) :], name))

    def _told(self, found: Any) -> Item:
        key = self._key(found.namespace, found.key)
        created, updated = _micros(found.created_at), _micros(found.updated_at)
        return item_of(key, found.value, created_at=created, updated_at=updated)

    def _of_row(self, row: _Row) -> Item:
        value = json.loads(row.value) if isinstance(row.value, str | bytes) else row.value
        return item_of(
            self._key(row.prefix.split("."), row.key),
            value,
            created_at=_micros(row.created_at),
            updated_at=_micros(row.updated_at),
            expires_at=_micros(row.expires_at),
        )

    def close(self) -> None:
        self._close()


def _joined(parts: Sequence[str]) -> str:
    return "/".join(_ESCAPE.sub(lambda m: "%2F" if m[0] == "/" else "%25", part) for part in parts)


def _value(item: Item) -> Any:
    return decode_value(item.content.format, item.content.data)


def _fits(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or value in _INTEGERS


def _micros(moment: Any) -> int | None:
    """Return a time of a store in microseconds since the epoch. A time without a zone is UTC."""
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return to_micros(moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC))


def open_sqlite(path: str, namespace: tuple[str, ...], *, create: bool) -> LangGraphStore:
    """Open the store of `langgraph+sqlite:///path`.

    Raises StorageError if the file cannot be opened or, unless `create` is set, does not exist;
    DependencyMissingError, with the pip command, if the package is not installed.
    """
    import sqlite3
    from pathlib import Path

    try:
        from langgraph.store.sqlite import SqliteStore
    except ImportError as error:
        raise _missing("sqlite") from error
    if not create and not Path(path).exists():
        raise StorageError(f"no database at {path}")
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        store = SqliteStore(connection)
        store.setup()
    except sqlite3.Error as error:
        raise StorageError(f"cannot open LangGraph's store in {path}: {error}") from None

    def rows(sql: str, parameters: tuple[str, ...]) -> Iterator[Sequence[Any]]:
        return iter(connection.execute(sql, parameters))

    return LangGraphStore(
        store,
        namespace,
        name=f"LangGraph's store in {path}",
        rows=rows,
        close=connection.close,
    )


def open_postgres(url: str, namespace: tuple[str, ...]) -> LangGraphStore:
    """Open the store of `langgraph+postgresql://…`.

    Raises ConnectError if the server cannot be reached; DependencyMissingError, with the pip
    command, if the package is not installed.
    """
    try:
        import psycopg
        from langgraph.store.postgres import PostgresStore
    except ImportError as error:
        raise _missing("postgres") from error
    opening: AbstractContextManager[Any] = PostgresStore.from_conn_string(url)
    try:
        store = opening.__enter__()
        store.setup()
        reading = psycopg.connect(url, autocommit=True)
    except psycopg.Error:
        # Its text may quote the address.
        raise ConnectError("LangGraph's store: cannot connect to Postgres") from None

    def rows(sql: str, parameters: tuple[str, ...]) -> Iterator[Sequence[Any]]:
        # A server-side cursor would need a transaction that lasts as long as the copy.
        return iter(reading.execute(sql.replace("?", "%s").encode(), parameters or None))

    def close() -> None:
        reading.close()
        opening.__exit__(None, None, None)

    return LangGraphStore(
        store, namespace, name="LangGraph's store in Postgres", rows=rows, close=close
    )


def namespace_of(text: str | None) -> tuple[str, ...]:
    """Return the labels in `?namespace=a/b`. Raises ConfigurationError for a malformed one."""
    labels = tuple(text.split("/")) if text else ()
    if not all(labels) or any("." in label for label in labels):
        raise ConfigurationError(
            "namespace must consist of labels without dots, separated by slashes, such as "
            "agents/memory"
        )
    return labels


def _missing(kind: str) -> DependencyMissingError:
    package = f"langgraph-checkpoint-{kind}"
    return DependencyMissingError(
        f"langgraph+{kind}:// needs the {package} package: pip install {package}"
    )
