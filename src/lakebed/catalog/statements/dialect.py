"""How databases differ in the SQL that a catalog runs on them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence

from lakebed.errors import ConfigurationError

TABLES = (
    "entry",
    "entry_history",
    "entry_metadata",
    "segment",
    "segment_queue",
    "segment_ended",
    "object",
    "part",
    "pack",
    "pending",
    "trash",
    "candidate",
    "snapshot",
    "lakebed_meta",
    "metadata_queue",
    "metadata_ended",
    "queued_batch",
    "writer",
    "staged",
)
"""The tables of a catalog. In SQL text, each stands in braces."""

_FILES = ("queries.sql", "segments.sql", "maintenance.sql", "scan.sql", "statistics.sql")
_UNPREFIXED = ("lakebed_meta", "staged")
_NOW = r"(?<!:):now\b"

ENTRY_COLUMNS = (
    'e."key", e."version", e."metadata", e."expires_at", e."created_at", e."updated_at", '
    'o."content_hash", o."format", o."byte_size", o."inline_value", '
    'CASE WHEN o."pack_id" IS NULL THEN o."uri" '
    'ELSE (SELECT p."uri" FROM {pack} p WHERE p."id" = o."pack_id") END, o."position"'
)
"""The columns of `EntryRow`, in its order, of `entry e` and `object o`."""


def sql_folder() -> str:
    """Return where `catalog_sql` lies: inside the installed package, or beside `src` in a
    checkout."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    installed = os.path.join(package, "catalog_sql")
    if os.path.isdir(installed):
        return installed
    return os.path.join(os.path.dirname(os.path.dirname(package)), "catalog_sql")


def read_text(folder: str, *names: str) -> str | None:
    """Return the text of a file in a folder of SQL, or None if there is none."""
    path = os.path.join(folder, *names)
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


def parse(text: str) -> dict[str, str]:
    """Return the queries of a text by their names. A later one replaces an earlier one."""
    queries = {}
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        queries[name.strip()] = "\n".join(lines).strip()
    return queries


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


class Dialect:
    """What is different in the SQL of one kind of database.

    The shared text of `catalog_sql` is written as SQLite and Postgres both understand it. A dialect
    has a folder of files with the same names. A query in them replaces the shared one, and
    `schema.sql` and `migrations/0002_….sql` make the tables. What the folder lacks is taken from
    the dialect `base`, if there is one.

    name: for people; also the folder in `catalog_sql`, if `folder` is not given.
    folder: an absolute path.
    integer, double: the types of whole numbers and of numbers with a fraction in CAST.
    prefix: begins the names of tables, where a schema does not say whose they are.
    unindexed: stands before a column that the database must not use as a way into a table.
    table_options: ends CREATE TABLE.
    rewrites: regular expressions for what the database writes differently in all statements, such
    as upserts or the comparison of values that may be NULL, and what to put in their place.
    """

    def __init__(
        self,
        name: str,
        *,
        folder: str | os.PathLike[str] | None = None,
        base: Dialect | None = None,
        integer: str = "BIGINT",
        double: str = "DOUBLE PRECISION",
        prefix: str = "",
        unindexed: str = "",
        table_options: str = "",
        rewrites: Sequence[tuple[str, str]] = (),
    ) -> None:
        if folder is not None and not os.path.isdir(folder):
            raise ConfigurationError(f"the dialect {name}: there is no folder {os.fspath(folder)}")
        self.name = name
        self._own_folder = folder
        self._base = base
        self._prefix = prefix
        self._words = {
            "integer": integer,
            "double": double,
            "unindexed": unindexed,
            "table_options": table_options,
        }
        self._patterns = rewrites

    def __repr__(self) -> str:
        return f"<dialect {self.name}>"

    @property
    def _folder(self) -> str:
        return os.fspath(self._own_folder or os.path.join(sql_folder(), self.name))

    def queries(self, schema: str | None = None) -> dict[str, str]:
        """Return the queries by name, for tables in a schema of the database, if it has schemas.

        Table names, `{entry_columns}` and the like are filled in; other braces are left to the
        caller.
        """
        texts = (read_text(sql_folder(), name) or "" for name in _FILES)
        return parse(self.fill("\n".join((*texts, self._own_text())), schema))

    def _own_text(self) -> str:
        texts = [] if self._base is None else [self._base._own_text()]
        texts += [read_text(self._folder, name) or "" for name in _FILES]
        return "\n".join(texts)

    def script(self, schema: str | None, *names: str) -> str | None:
        """Return the text of a file of the folder, such as `schema.sql`. Return None if neither
        this dialect nor the one that it is based on has such a file."""
        text = self._read(*names)
        return None if text is None else self.fill(text, schema)

    def _read(self, *names: str) -> str | None:
        text = read_text(self._folder, *names)
        if text is None and self._base is not None:
            text = self._base._read(*names)
        return text

    def migration(self, schema: str | None, number: int) -> str:
        """Return the script that brings a schema of the version before to this one."""
        folder = os.path.join(self._folder, "migrations")
        if self._base is not None and not os.path.isdir(folder):
            return self.fill(self._base.migration(schema, number), schema)
        (name,) = (name for name in os.listdir(folder) if name.startswith(f"{number:04}_"))
        text = read_text(folder, name)
        assert text is not None
        return self.fill(text, schema)

    def fill(self, sql: str, schema: str | None) -> str:
        """Return a text with table names and what else depends on the dialect."""
        for pattern, replacement in self._rewrites(schema):
            sql = re.sub(pattern, replacement, sql)
        names = self._names(schema)
        names["entry_columns"] = _fill(ENTRY_COLUMNS, names)
        return _fill(sql, names)

    def _rewrites(self, schema: str | None) -> Sequence[tuple[str, str]]:
        del schema
        return self._patterns

    def _names(self, schema: str | None) -> dict[str, str]:
        """Return what stands for each name in braces."""
        where = "" if schema is None else f"{quoted(schema)}."
        names = {
            table: where + (table if table in _UNPREFIXED else self._prefix + table)
            for table in TABLES
        }
        return names | self._words


class _Postgres(Dialect):
    """Without a schema, only the queries that name no table can be run."""

    def _rewrites(self, schema: str | None) -> Sequence[tuple[str, str]]:
        return () if schema is None else self._patterns

    def _names(self, schema: str | None) -> dict[str, str]:
        names = super()._names(schema)
        if schema is not None:
            names |= {
                "staged": "pg_temp.staged",
                "schema": quoted(schema),
                "schema_text": f"'{schema}'",
                "lock": str(lock_number(schema)),
            }
        return names


def _fill(sql: str, names: Mapping[str, str]) -> str:
    """The text with these names filled in, by one pass over it; other braces are left."""
    first, *parts = sql.split("{")
    filled = [first]
    for part in parts:
        name, brace, rest = part.partition("}")
        known = names.get(name) if brace else None
        filled.append("{" + part if known is None else known + rest)
    return "".join(filled)


def lock_number(schema: str) -> int:
    """Return the number of the advisory lock of the lake in a schema."""
    digest = hashlib.sha256(f"lakebed:{schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


SQLITE = Dialect(
    "sqlite",
    integer="INTEGER",
    double="REAL",
    # It keeps no statistics, and would rather walk all keys than a short range of versions.
    unindexed="+",
)
POSTGRES = _Postgres(
    "postgres",
    integer="bigint",
    double="float8",
    rewrites=(
        (
            _NOW,
            "coalesce(:now::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)",
        ),
        # A list is one parameter, an array; the planner looks each of its values up in an index.
        (r"IN \(\{(\w+)\}\)", r"= ANY (ARRAY({\1}))"),
    ),
)
MYSQL = Dialect(
    "mysql",
    integer="SIGNED",
    double="DOUBLE",
    prefix="lakebed_",
    table_options=(
        "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin "
        "COMMENT='Lakebed'"
    ),
    rewrites=(
        (_NOW, "coalesce(:now, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))"),
        (r"IS NOT DISTINCT FROM", "<=>"),
        (r"ON CONFLICT \([^)]*\) DO UPDATE SET", "ON DUPLICATE KEY UPDATE"),
        (r'ON CONFLICT \(("\w+")[^)]*\) DO NOTHING', r"ON DUPLICATE KEY UPDATE \1 = VALUES(\1)"),
        (r'excluded\.("\w+")', r"VALUES(\1)"),
    ),
)
PORTABLE = Dialect("portable", prefix="lakebed_")
"""For a database of which only that is known which `catalog_sql/portable` says."""
