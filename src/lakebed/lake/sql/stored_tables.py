"""Stored tables and the lake's own tables, as Ibis tables on one query session."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import NamedTuple

import duckdb
import ibis.expr.types as ir
import pyarrow as pa

from lakebed.catalog.protocol import CatalogReads
from lakebed.duckdb.conditions import Bounds
from lakebed.duckdb.filesystem import Grant
from lakebed.duckdb.ibis_backend import LakeBackend
from lakebed.duckdb.relations import files, literal, partition_folder, quoted
from lakebed.errors import (
    CorruptionError,
    LakebedError,
    NotFoundError,
    QueryError,
    ValidationError,
)
from lakebed.lake.contents.collected import CollectedError
from lakebed.lake.contents.windows import ContentReader
from lakebed.lake.sql.engine import QueryEngine
from lakebed.lake.sql.rows import LoadedRows
from lakebed.lake.sql.schemas import FileSchemas, is_wider_than_duckdb
from lakebed.lake.sql.stored import FORMATS, Row, Stored, newest_parts, parts_of, row_of
from lakebed.lake.sql.wanted import want_of
from lakebed.model import EntryRow, Moment
from lakebed.objects.store import ObjectStore
from lakebed.values.parquet import read_table
from lakebed.values.partitions import sql_types

_RELATIONS = ("entries", "documents", "history", "snapshots", "objects")
_AT_A_MOMENT = ("entries", "documents")
_SCHEMA = "lakebed_tables"
_RETIRED = 64  # old addresses of files that stay valid for views

Column = tuple[str, str]
"""A column's name, and its type in DuckDB."""


class _Alike(NamedTuple):
    """What files must have in common to be read together: schema and partition columns."""

    schema: bytes
    partitions: tuple[Column, ...]


class _Shown:
    """The rows and grants that the views of a moment read."""

    def __init__(self, rows: list[LoadedRows], grants: list[Grant]) -> None:
        self.rows = rows
        self.grants = grants
        for one in rows:
            one.hold()

    def release(self) -> None:
        """Release the rows after the views show others. A query that is reading them can finish."""
        for one in self.rows:
            one.release()


class StoredTables:
    """The tables of a lake for Ibis, on one query session. Safe to use from any thread."""

    def __init__(
        self,
        engine: QueryEngine,
        lake: ContentReader,
        catalog: CatalogReads,
        objects: ObjectStore | None,
    ) -> None:
        self._engine = engine
        self._session = engine.session
        self._lake = lake
        self._catalog = catalog
        self._backends: dict[Moment | None, LakeBackend] = {}
        self._shown: dict[Moment | None, _Shown] = {}
        self._grants: dict[str, Grant] = {}
        self._retired: deque[Grant] = deque()
        self._views: dict[tuple[str, LakeBackend], ir.Table] = {}
        self._schemas = FileSchemas(engine.session.files, objects)
        self._columns: dict[bytes, list[Column]] = {}

    def is_for(self, engine: QueryEngine) -> bool:
        """Return whether the tables are on this session."""
        return self._engine is engine

    def ibis(self, moment: Moment | None) -> LakeBackend:
        """Return the Ibis backend whose tables show the lake now, or at a moment."""
        engine = self._engine
        names = _RELATIONS if moment is None else _AT_A_MOMENT
        wanted = {name: want_of(name, (moment,)) for name in names}
        with engine.loading():
            loaded = engine.cache.load(list(wanted.values()))
            backend = self._backend(moment)
            shown = _Shown(list(loaded.values()), [])
            try:
                # Do this before the transaction, which would not see rows that are loaded later.
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
        """Revoke the oldest addresses that views had. The newer ones stay valid, because another
        thread may be about to open the files of a view."""
        self._retired.extend(shown.grants)
        while len(self._retired) > _RETIRED:
            self._retired.popleft().release()

    def views(self, rows: Mapping[str, LoadedRows], grants: list[Grant]) -> dict[str, str]:
        """Return the SELECTs of the lake's own tables, by name."""
        return {name: self._engine.view(some, grants, values=True) for name, some in rows.items()}

    def table(self, row: EntryRow, moment: Moment | None) -> ir.Table:
        """Return a stored table as a table of Ibis. Raise ValidationError for another format."""
        if row.format not in FORMATS:
            raise ValidationError(f"{row.key!r} is of the format {row.format!r}: expected a table")
        with self._engine.loading():
            stored = parts_of(self._catalog, *row_of(row))
            name = f"t_{row.content_hash.hex()}"
            with self._naming_damage(stored):
                return self._made(name, moment, lambda: self._joined(stored))

    def tables(
        self, prefix: str, bounds: Bounds, moment: Moment | None, *, widen: bool, key_column: str
    ) -> ir.Table:
        """Return the stored tables of a range of keys as one table."""
        with self._engine.loading():
            stored = self._stored(prefix, bounds, moment)
            parts = dict[_Alike, list[Stored]]()
            with self._naming_damage(stored):
                for table, schema in zip(stored, self._schemas.of(stored), strict=True):
                    alike = _Alike(schema, self._partitions(table))
                    parts.setdefault(alike, []).append(table)
                for one in [a for a, some in parts.items() if not self._has_columns(a[0], some[0])]:
                    del parts[one]  # without columns, they have no rows either
                if not parts:
                    raise NotFoundError(f"no stored table under {prefix!r} has a column")
                self._check_columns(parts, widen=widen, key_column=key_column)
                names = [table._replace(data=None) for table in stored]
                digest = sha256(repr((key_column, names)).encode()).hexdigest()
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
        """Return a table of Ibis on a view. The view stays, because contents never change."""
        backend = self._backend(moment)
        if (name, backend) not in self._views:
            # Done once, because it opens a file of each schema.
            backend.con.execute(f"CREATE VIEW IF NOT EXISTS {_SCHEMA}.{name} AS {select()}")
            self._views[name, backend] = backend.table(name, database=_SCHEMA)
        return self._views[name, backend]

    def _stored(self, prefix: str, bounds: Bounds, moment: Moment | None) -> list[Stored]:
        wanted = want_of("entries", (moment,), bounds)
        rows = self._engine.cache.load([wanted])[wanted]
        connection = self._backend(None).con
        columns = "key, content_hash, format, byte_size, uri"
        query = f"SELECT {columns} FROM {{}} WHERE format IN {FORMATS}"
        rows.hold()
        try:
            sql = f"{query.format(rows.table)} ORDER BY encode(key)"
            found: list[Row] = connection.execute(sql).fetchall()
        finally:
            rows.release()
        if not found:
            others = f": none of its {rows.count} entries is a table" if rows.count else ""
            raise NotFoundError(f"no stored table has a key that begins with {prefix!r}{others}")
        return [part for row in found for part in newest_parts(self._catalog, moment, row)]

    def _joined(self, stored: Sequence[Stored]) -> str:
        """Return the SELECT of all rows of a table, in order."""
        runs = list[tuple[_Alike | None, list[Stored]]]()
        for part, schema in zip(stored, self._schemas.of(stored), strict=True):
            self._check_whole(part, schema)
            run = None if part.uri is None else _Alike(schema, self._partitions(part))
            # DuckDB reads a file once, but a table may have the same rows twice.
            if run is None or not runs or runs[-1][0] != run or part in runs[-1][1]:
                runs.append((run, []))
            runs[-1][1].append(part)
        selects = [f"SELECT * FROM {self._run(alike, run)}" for alike, run in runs]
        return " UNION ALL BY NAME ".join([*self._no_rows(stored[0]), *selects])

    def _no_rows(self, part: Stored, key_column: str | None = None) -> Iterator[str]:
        """Return a SELECT of no rows with the columns of a table, which its parts may lack."""
        if part.table_schema is not None:
            columns = self._columns_of(part.table_schema, part)
            if key_column is not None:
                columns = [(key_column, "VARCHAR"), *columns]
            nulls = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in columns)
            yield f"SELECT {nulls} WHERE false"

    def _run(self, alike: _Alike | None, stored: Sequence[Stored]) -> str:
        """Return SQL that reads files with the same schema, or one table in the catalog."""
        if alike is None:
            return self._rows(stored[0])
        addresses = (self._granted([part]).address for part in stored)
        return files(*addresses, partitions=dict(alike.partitions))

    def _partitions(self, part: Stored) -> tuple[Column, ...]:
        """Return the columns by which DuckDB can distinguish the files of a table, with their
        types."""
        if part.partition_by and part.table_schema is not None:
            table = pa.ipc.read_schema(pa.py_buffer(part.table_schema))
            return tuple((sql_types(table, part.partition_by) or {}).items())
        return ()

    @contextmanager
    def _naming_damage(self, stored: Sequence[Stored]) -> Iterator[None]:
        """If files cannot be read, raise CorruptionError with key and hash of a damaged one.

        A query does not compare files with their hashes, because it would have to read them whole.
        """
        try:
            yield
        except (duckdb.Error, FileNotFoundError, CorruptionError):
            for table in (table for table in stored if table.uri is not None):
                error = self._lake.read_content(table.row())
                if isinstance(error, LakebedError):
                    raise error from None
            raise

    def _check_whole(self, stored: Stored, schema: bytes) -> None:
        """Raise an error for a file of another size than was stored, or without columns."""
        storage = self._session.files
        if stored.uri is not None and storage is not None:
            size = storage.size_of(stored.uri)
            if size != stored.byte_size:
                raise CorruptionError(f"{stored.uri} has {size} bytes, not {stored.byte_size}")
        if not self._has_columns(schema, stored):
            raise QueryError(f"the table {stored.key!r} has no columns: DuckDB needs one")

    def _rows(self, stored: Stored) -> str:
        """Return SQL for the rows of a table."""
        if stored.uri is not None:
            partitions = dict(self._partitions(stored))
            return files(self._granted([stored]).address, partitions=partitions)
        name = f"{_SCHEMA}.c_{stored.content_hash.hex()}"
        connection = self._backend(None).con
        if not connection.execute(
            "SELECT 1 FROM duckdb_tables() WHERE schema_name || '.' || table_name = ?", [name]
        ).fetchone():
            connection.register("content", self._inline(stored))
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM content")
            connection.unregister("content")
        return name

    def _granted(self, stored: Iterable[Stored]) -> Grant:
        """Grant access to files. Views may read them as long as the session lasts."""
        assert self._session.files is not None
        folders = {
            part.uri: partition_folder(part.partition_by, part.partition)
            if self._partitions(part)
            else ""
            for part in stored
            if part.uri is not None
        }
        name = repr(sorted(folders.items()))
        grant = self._grants.get(name)
        if grant is None:
            grant = self._grants[name] = self._session.files.grant(folders, folders)
        return grant

    def _inline(self, stored: Stored) -> pa.Table:
        """Return a table that is in the catalog."""
        if stored.data is not None:
            return read_table(stored.data)
        place = self._catalog.locate((stored.content_hash, "parquet"))
        if place is None or place.inline_value is None:
            raise CollectedError(f"the content of {stored.key!r} has been collected")
        return read_table(place.inline_value)

    def _has_columns(self, schema: bytes, stored: Stored) -> bool:
        """Return whether a table has any column. Raise QueryError if DuckDB would misread it."""
        if schema not in self._columns:
            known = (
                self._inline(stored).schema
                if stored.uri is None
                else pa.ipc.read_schema(pa.py_buffer(schema))
            )
            if not known.names:
                return False
            for field in known:
                if is_wider_than_duckdb(field.type):
                    raise QueryError(
                        f"the table {stored.key!r} has a column {field.name!r} of {field.type}: "
                        "DuckDB's decimals have at most 38 digits, so it would read wrong numbers"
                    )
        return True

    def _check_columns(
        self, parts: dict[_Alike, list[Stored]], *, widen: bool, key_column: str
    ) -> None:
        seen = dict[str, tuple[str, str]]()
        schemas = {t.table_schema or one.schema: t for one, some in parts.items() for t in some}
        for schema, table in schemas.items():
            key = table.key
            for name, kind in self._columns_of(schema, table):
                folded = name.lower()  # DuckDB ignores the case of names
                if folded == key_column.lower():
                    raise QueryError(
                        f"the table {key!r} has a column {name!r}: give the column of the keys "
                        "another name, with key_column="
                    )
                first_key, first_kind = seen.setdefault(folded, (key, kind))
                if kind != first_kind and not widen:
                    raise QueryError(
                        f"the column {name!r} is {first_kind} in {first_key!r} and {kind} in "
                        f"{key!r}: widen=True converts both to one type"
                    )

    def _columns_of(self, schema: bytes, table: Stored) -> list[Column]:
        if schema not in self._columns:
            connection = self._backend(None).con
            rows = "content"
            if schema == table.table_schema:
                empty = pa.ipc.read_schema(pa.py_buffer(schema)).empty_table()
                connection.register(rows, empty)
            else:
                rows = self._rows(table)
            described = connection.execute(f"DESCRIBE FROM {rows}")
            self._columns[schema] = [(row[0], row[1]) for row in described.fetchall()]
        return self._columns[schema]

    def _united(self, parts: dict[_Alike, list[Stored]], keys: str, key_column: str) -> str:
        """Return the SELECT of all tables. One read covers those with the same schema, and opens a
        single file before it runs."""
        column = quoted(key_column)
        one_of_each = {t.table_schema: t for some in parts.values() for t in reversed(some)}
        selects = [sql for t in one_of_each.values() for sql in self._no_rows(t, key_column)]
        mapping = list[tuple[int, int, str]]()
        for number, (alike, tables) in enumerate(parts.items()):
            grant = self._granted(tables) if any(t.uri is not None for t in tables) else None
            columns = [name.lower() for name, _ in self._columns_of(alike.schema, tables[0])]
            counts = "file_index" not in columns  # otherwise it would be the table's own column
            order = {uri: index for index, uri in enumerate(grant.paths if grant else ())}
            for table in tables:
                if table.uri is None or not counts:
                    selects.append(
                        f"SELECT {literal(table.key)} AS {column}, * FROM {self._rows(table)}"
                    )
                else:
                    mapping.append((number, order[table.uri], table.key))
            if grant is not None and counts:
                rows = files(grant.address, partitions=dict(alike.partitions))
                selects.append(
                    f"SELECT k.key AS {column}, t.* FROM {rows} t "
                    f"JOIN {_SCHEMA}.{keys} k ON k.part = {number} AND k.file = t.file_index"
                )
        self._write_keys(keys, mapping)
        return " UNION ALL BY NAME ".join(selects)

    def _write_keys(self, name: str, mapping: Iterable[tuple[int, int, str]]) -> None:
        """Write a table with the key of each file in each part."""
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
    """Replace the views in one transaction."""
    connection.begin()
    try:
        for name, select in views.items():
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS {select}")
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
