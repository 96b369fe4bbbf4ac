"""Stored tables, and the lake's own, as tables of Ibis on one query session."""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple

import duckdb
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.duckdb.conditions import Bounds
from lakebed.duckdb.filesystem import Grant
from lakebed.duckdb.ibis_backend import LakeBackend
from lakebed.duckdb.relations import files, literal
from lakebed.errors import (
    CorruptionError,
    LakebedError,
    NotFoundError,
    QueryError,
    ValidationError,
)
from lakebed.lake.base import LakeBase
from lakebed.lake.sql.engine import QueryEngine
from lakebed.lake.sql.rows import LoadedRows
from lakebed.lake.sql.wanted import want_of
from lakebed.model import EntryRow, Moment
from lakebed.objects.store import Range
from lakebed.values.parquet import read_table

_RELATIONS = ("entries", "documents", "history", "snapshots", "objects")
_AT_A_MOMENT = ("entries", "documents")
_SCHEMA = "lakebed_tables"
_TAIL_BYTES = 64 << 10  # what is read of a file's end at once: the footer of most tables
_RETIRED = 64  # addresses of files that views named, before they are no more
_DIGITS = 38  # of DuckDB's decimals

Column = tuple[str, str]
"""A name, and its type as DuckDB sees it."""


class _Stored(NamedTuple):
    """A stored table: its key, and where its content lies; `uri` None for the catalog."""

    key: str
    content_hash: bytes
    byte_size: int
    uri: str | None

    def row(self) -> EntryRow:
        """The entry, as far as reading its content goes."""
        place = (self.content_hash, "parquet", self.byte_size, None, self.uri, None)
        return EntryRow(self.key, 0, "{}", None, 0, 0, *place)


class _Shown:
    """What the views of a moment read."""

    def __init__(self, rows: list[LoadedRows], grants: list[Grant]) -> None:
        self.rows = rows
        self.grants = grants
        for one in rows:
            one.hold()

    def release(self) -> None:
        """The views are others by now. (Who is reading a table that is dropped reads on.)"""
        for one in self.rows:
            one.release()


class StoredTables:
    """What Ibis sees of a lake through one query session. Safe from any thread."""

    def __init__(self, engine: QueryEngine, lake: LakeBase) -> None:
        self._engine = engine
        self._session = engine.session
        self._lake = lake
        self._objects = lake._objects
        self._backends: dict[Moment | None, LakeBackend] = {}
        self._shown: dict[Moment | None, _Shown] = {}
        self._grants: dict[str, Grant] = {}
        self._retired: deque[Grant] = deque()
        self._views: dict[tuple[str, LakeBackend], ir.Table] = {}
        self._schemas: dict[str, bytes] = {}
        self._columns: dict[bytes, list[Column]] = {}

    def is_for(self, engine: QueryEngine) -> bool:
        """Whether they are on this session."""
        return self._engine is engine

    def ibis(self, moment: Moment | None) -> LakeBackend:
        """The backend whose tables show the lake as it is now, or was at a moment."""
        engine = self._engine
        names = _RELATIONS if moment is None else _AT_A_MOMENT
        wanted = {name: want_of(name, (moment,)) for name in names}
        with engine.loading():
            loaded = engine.load(list(wanted.values()))
            backend = self._backend(moment)
            shown = _Shown(list(loaded.values()), [])
            try:
                # Before the transaction, which would not see what is brought in after it began.
                views = self.views({n: loaded[one] for n, one in wanted.items()}, shown.grants)
                _replace_views(backend.con, views)
            except BaseException:
                shown.release()
                self._retire(shown)
                raise
            if moment in self._shown:
                self._shown[moment].release()
                self._retire(self._shown[moment])
            self._shown[moment] = shown
        return backend

    def _retire(self, shown: _Shown) -> None:
        """End the oldest of the addresses that views had. Not at once: another thread may have
        looked up a view, and be about to open what it named then."""
        self._retired.extend(shown.grants)
        while len(self._retired) > _RETIRED:
            self._retired.popleft().release()

    def views(self, rows: Mapping[str, LoadedRows], grants: list[Grant]) -> dict[str, str]:
        """The SELECTs of the lake's own tables, by name."""
        return {name: self._engine.view(some, grants, values=True) for name, some in rows.items()}

    def table(self, row: EntryRow, moment: Moment | None) -> ir.Table:
        """A stored table."""
        if row.format != "parquet":
            raise ValidationError(f"{row.key!r} is of the format {row.format!r}: expected a table")
        stored = _Stored(row.key, row.content_hash, row.byte_size, row.uri)
        with self._engine.loading():
            name = f"t_{row.content_hash.hex()}"
            with self._naming_damage([stored]):
                return self._made(name, moment, lambda: f"SELECT * FROM {self._whole(stored)}")

    def tables(
        self, prefix: str, bounds: Bounds, moment: Moment | None, *, widen: bool, key_column: str
    ) -> ir.Table:
        """The stored tables of a range of keys as one."""
        with self._engine.loading():
            stored = self._stored(prefix, bounds, moment)
            parts = dict[bytes, list[_Stored]]()
            with self._naming_damage(stored):
                for table, schema in zip(stored, self._read_schemas(stored), strict=True):
                    parts.setdefault(schema, []).append(table)
                for schema in [s for s, some in parts.items() if not self._has_columns(s, some[0])]:
                    del parts[schema]  # they have no rows either
                if not parts:
                    raise NotFoundError(f"no stored table under {prefix!r} has a column")
                self._check_columns(parts, widen=widen, key_column=key_column)
                digest = sha256(repr((key_column, stored)).encode()).hexdigest()
                return self._made(
                    f"u_{digest}", moment, lambda: self._united(parts, f"k_{digest}", key_column)
                )

    def _backend(self, moment: Moment | None) -> LakeBackend:
        if moment not in self._backends:
            schema = "lake" if moment is None else f"at_{len(self._backends)}"
            self._backends[moment] = backend = LakeBackend(self._session, schema)
            backend.con.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        return self._backends[moment]

    def _made(self, name: str, moment: Moment | None, select: Callable[[], str]) -> ir.Table:
        """A table of Ibis on a view, which stays: it shows contents, which never change."""
        backend = self._backend(moment)
        if (name, backend) not in self._views:
            # Once: that opens a file of each schema.
            backend.con.execute(f"CREATE VIEW IF NOT EXISTS {_SCHEMA}.{name} AS {select()}")
            self._views[name, backend] = backend.table(name, database=_SCHEMA)
        return self._views[name, backend]

    def _stored(self, prefix: str, bounds: Bounds, moment: Moment | None) -> list[_Stored]:
        wanted = want_of("entries", (moment,), bounds)
        rows = self._engine.load([wanted])[wanted]
        connection = self._backend(None).con
        query = "SELECT key, content_hash, byte_size, uri FROM {} WHERE format = 'parquet'"
        rows.hold()
        try:
            sql = f"{query.format(rows.table)} ORDER BY encode(key)"
            found = connection.execute(sql).fetchall()
        finally:
            rows.release()
        if not found:
            others = f": its {rows.count} entries are no tables" if rows.count else ""
            raise NotFoundError(f"no stored table has a key that begins with {prefix!r}{others}")
        return list(map(_Stored._make, found))

    @contextmanager
    def _naming_damage(self, stored: Sequence[_Stored]) -> Iterator[None]:
        """If files cannot be read, look which are damaged: CorruptionError with key and hash. (What
        a table's columns hold is not hashed here: that would read all of it.)"""
        try:
            yield
        except (duckdb.Error, FileNotFoundError, CorruptionError):
            for table in (table for table in stored if table.uri is not None):
                error = self._lake.read_content(table.row())
                if isinstance(error, LakebedError):
                    raise error from None
            raise

    def _whole(self, stored: _Stored) -> str:
        """What SQL reads a table from, whose file has the size that was stored."""
        storage = self._session.files
        if stored.uri is not None and storage is not None:
            size = storage.size_of(stored.uri)
            if size != stored.byte_size:
                raise CorruptionError(f"{stored.uri} has {size} bytes, not {stored.byte_size}")
        (schema,) = self._read_schemas([stored])
        if not self._has_columns(schema, stored):
            raise QueryError(f"the table {stored.key!r} has no columns: DuckDB needs one")
        return self._rows(stored)

    def _rows(self, stored: _Stored) -> str:
        """What SQL reads a table from."""
        if stored.uri is not None:
            return files(self._granted([stored.uri]))
        name = f"{_SCHEMA}.c_{stored.content_hash.hex()}"
        connection = self._backend(None).con
        if not connection.execute(
            "SELECT 1 FROM duckdb_tables() WHERE schema_name || '.' || table_name = ?", [name]
        ).fetchone():
            connection.register("content", self._inline(stored))
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM content")
            connection.unregister("content")
        return name

    def _granted(self, uris: list[str]) -> str:
        """The address of files, which views go on reading as long as the session lasts."""
        assert self._session.files is not None
        grant = self._grants.get(repr(uris))
        if grant is None:
            grant = self._grants[repr(uris)] = self._session.files.grant(uris)
        return grant.address

    def _inline(self, stored: _Stored) -> pa.Table:
        """A table that lies in the catalog."""
        place = self._lake._catalog.locate((stored.content_hash, "parquet"))
        if place is None or place.inline_value is None:
            raise NotFoundError(f"the content of {stored.key!r} has been collected")
        return read_table(place.inline_value)

    def _has_columns(self, schema: bytes, stored: _Stored) -> bool:
        """Whether a table has any column; QueryError for one that DuckDB would read wrong."""
        if schema not in self._columns:
            known = (
                self._inline(stored).schema
                if stored.uri is None
                else pa.ipc.read_schema(pa.py_buffer(schema))
            )
            if not known.names:
                return False
            for field in known:
                if _is_wider_than_duckdb(field.type):
                    raise QueryError(
                        f"the table {stored.key!r} has a column {field.name!r} of {field.type}: "
                        "DuckDB has decimals of 38 digits, and would read other numbers"
                    )
        return True

    def _read_schemas(self, stored: Sequence[_Stored]) -> Iterator[bytes]:
        """What tells the schema of each table from others."""
        unread = {t.uri: t for t in stored if t.uri is not None and t.uri not in self._schemas}
        if unread:
            assert self._objects is not None
            ends = [
                Range(uri, max(0, t.byte_size - _TAIL_BYTES), min(t.byte_size, _TAIL_BYTES))
                for uri, t in unread.items()
            ]
            results = self._objects.read_many(ends)
            for (uri, table), result in zip(unread.items(), results, strict=True):
                if not isinstance(result, bytes):
                    raise result
                self._schemas[uri] = self._schema(table, uri, result)
                if self._session.files is not None:
                    self._session.files.note_size(uri, table.byte_size)
        for table in stored:
            yield table.content_hash if table.uri is None else self._schemas[table.uri]

    def _schema(self, table: _Stored, uri: str, end: bytes) -> bytes:
        """The Arrow schema in a file's footer, which settles the types, without its metadata."""
        length = int.from_bytes(end[-8:-4], "little") + 8
        if length > table.byte_size:
            raise CorruptionError(f"the content of {table.key!r} is damaged: it has no footer")
        if length > len(end):
            assert self._objects is not None
            end = self._objects.read(uri, table.byte_size - length, length)
        try:
            footer = pq.read_metadata(pa.BufferReader(b"PAR1" + end[-length:]))
            stored = (footer.metadata or {})[b"ARROW:schema"]
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(stored)))
        except (pa.ArrowException, OSError, KeyError) as error:
            raise CorruptionError(f"the content of {table.key!r} is damaged: {error}") from None
        return bytes(schema.remove_metadata().serialize())

    def _check_columns(
        self, parts: dict[bytes, list[_Stored]], *, widen: bool, key_column: str
    ) -> None:
        seen = dict[str, tuple[str, str]]()
        for schema, tables in parts.items():
            key = tables[0].key
            for name, kind in self._columns_of(schema, tables[0]):
                folded = name.lower()  # as DuckDB compares names
                if folded == key_column.lower():
                    raise QueryError(
                        f"the table {key!r} has a column {name!r}: name the column of the keys "
                        "otherwise, with key_column="
                    )
                first_key, first_kind = seen.setdefault(folded, (key, kind))
                if kind != first_kind and not widen:
                    raise QueryError(
                        f"the column {name!r} is {first_kind} in {first_key!r} and {kind} in "
                        f"{key!r}: widen=True makes one type of both"
                    )

    def _columns_of(self, schema: bytes, table: _Stored) -> list[Column]:
        if schema not in self._columns:
            described = self._backend(None).con.execute(f"DESCRIBE FROM {self._rows(table)}")
            self._columns[schema] = [(row[0], row[1]) for row in described.fetchall()]
        return self._columns[schema]

    def _united(self, parts: dict[bytes, list[_Stored]], keys: str, key_column: str) -> str:
        """The SELECT of all tables. Those of one schema are one read, which opens a single file
        before it runs."""
        column = '"' + key_column.replace('"', '""') + '"'
        selects, mapping = [], list[tuple[int, int, str]]()
        for number, (schema, tables) in enumerate(parts.items()):
            uris = sorted({table.uri for table in tables if table.uri is not None})
            columns = [name.lower() for name, _ in self._columns_of(schema, tables[0])]
            counts = "file_index" not in columns  # else that would be the table's own
            order = {uri: index for index, uri in enumerate(uris)}
            for table in tables:
                if table.uri is None or not counts:
                    selects.append(
                        f"SELECT {literal(table.key)} AS {column}, * FROM {self._rows(table)}"
                    )
                else:
                    mapping.append((number, order[table.uri], table.key))
            if uris and counts:
                selects.append(
                    f"SELECT k.key AS {column}, t.* FROM {files(self._granted(uris))} t "
                    f"JOIN {_SCHEMA}.{keys} k ON k.part = {number} AND k.file = t.file_index"
                )
        self._write_keys(keys, mapping)
        return " UNION ALL BY NAME ".join(selects)

    def _write_keys(self, name: str, mapping: Iterable[tuple[int, int, str]]) -> None:
        """The keys of each file of each part, as a table."""
        connection = self._backend(None).con
        part, file, key = zip(*mapping, strict=True) if mapping else ((), (), ())
        columns = [
            pa.array(part, pa.int64()),
            pa.array(file, pa.int64()),
            pa.array(key, pa.string()),
        ]
        connection.register("mapping", pa.table(columns, names=["part", "file", "key"]))
        connection.execute(f"CREATE TABLE IF NOT EXISTS {_SCHEMA}.{name} AS FROM mapping")
        connection.unregister("mapping")


def _replace_views(connection: duckdb.DuckDBPyConnection, views: Mapping[str, str]) -> None:
    """Let the views show other rows, all at once."""
    connection.begin()
    try:
        for name, select in views.items():
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS {select}")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def _is_wider_than_duckdb(kind: pa.DataType) -> bool:
    """Whether a type holds decimals of more digits than DuckDB has, which it reads as floats of
    another value."""
    kind = getattr(kind, "storage_type", kind)
    if pa.types.is_decimal256(kind):
        return bool(kind.precision > _DIGITS)
    return any(_is_wider_than_duckdb(kind.field(n).type) for n in range(kind.num_fields))
