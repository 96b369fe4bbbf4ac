"""The SQL text of `catalog_sql`, by name."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakebed.catalog.statements.executor import Transaction

TABLES = (
    "entry",
    "entry_history",
    "entry_metadata",
    "segment",
    "segment_queue",
    "segment_ended",
    "object",
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

_IN_CHUNK = 500  # parameters in one IN list: every database takes as many
_ARRAY_CHUNK = 10_000
_NOW = r"(?<!:):now\b"
_IN = r"IN \(\{(\w+)\}\)"
_SERVER_NOW = (
    "coalesce(:now::bigint, (extract(epoch FROM statement_timestamp()) * 1000000)::bigint)"
)
_MYSQL_NOW = "coalesce(:now, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)))"
_MYSQL_TABLES = (
    "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin COMMENT='Lakebed'"
)
_TYPES = {  # of numbers, as CAST names them: whole ones, and such with a fraction
    "sqlite": ("INTEGER", "REAL"),
    "mysql": ("SIGNED", "DOUBLE"),
    "postgres": ("bigint", "float8"),
    "portable": ("BIGINT", "DOUBLE PRECISION"),
}
_PREFIXED = ("mysql", "portable")  # tables whose names say whose they are
_ARRAY_TYPES = {str: "text", bytes: "bytea", int: "bigint"}

ENTRY_COLUMNS = (
    'e."key", e."version", e."metadata", e."expires_at", e."created_at", e."updated_at", '
    'o."content_hash", o."format", o."byte_size", o."inline_value", '
    'CASE WHEN o."pack_id" IS NULL THEN o."uri" '
    'ELSE (SELECT p."uri" FROM {pack} p WHERE p."id" = o."pack_id") END, o."position"'
)
"""The columns of `EntryRow`, in its order, of `entry e` and `object o`."""


def sql_folder() -> str:
    """Where `catalog_sql` lies: inside the installed package, or beside `src` in a checkout."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    installed = os.path.join(package, "catalog_sql")
    if os.path.isdir(installed):
        return installed
    return os.path.join(os.path.dirname(os.path.dirname(package)), "catalog_sql")


def read_sql(*names: str) -> str | None:
    """The text of a file of `catalog_sql`, None if there is none."""
    path = os.path.join(sql_folder(), *names)
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


def load_queries(dialect: str, schema: str | None = None) -> dict[str, str]:
    """The queries of a dialect: the portable ones, and its own in place of those that differ.

    Table names, `{entry_columns}` and `{unindexed}` (before a column that is no way into a table)
    are filled in; other braces are left to the caller.
    """
    names = ("queries.sql", "segments.sql", "maintenance.sql", "scan.sql", "statistics.sql")
    texts = (read_sql(folder, name) or "" for folder in ("", dialect) for name in names)
    return _parse(fill("\n".join(texts), dialect, schema))


def load_spool_queries() -> dict[str, str]:
    """The queries of the spool."""
    return _parse(read_sql("spool.sql") or "")


def in_lists(
    queries: Mapping[str, str], values: Sequence[object]
) -> Iterator[tuple[str, dict[str, object]]]:
    """What stands in IN lists that hold all values, a bounded number in each, and its parameters.

    Where the dialect has arrays one parameter takes them all.
    """
    if "array" in queries:
        for start in range(0, len(values), _ARRAY_CHUNK):
            array = list(values[start : start + _ARRAY_CHUNK])
            kind = _ARRAY_TYPES[type(array[0])]
            yield queries["array"].replace("{type}", kind), {"array": array}
        return
    if "json_array" in queries and len(values) > 1 and not isinstance(values[0], bytes):
        import orjson  # not for a first store

        for start in range(0, len(values), _ARRAY_CHUNK):
            text = orjson.dumps(values[start : start + _ARRAY_CHUNK]).decode()
            yield queries["json_array"], {"array": text}
        return
    for start in range(0, len(values), _IN_CHUNK):
        params = {f"p{i}": value for i, value in enumerate(values[start : start + _IN_CHUNK])}
        yield ", ".join(f":{name}" for name in params), params


def run_for(
    tx: Transaction, queries: Mapping[str, str], name: str, values: Sequence[object]
) -> None:
    """Run a statement for all of these values: lists of them, or, where the dialect's statement
    takes one `:value`, one after another."""
    sql = queries[name]
    if ":value" in sql:
        tx.many(sql, [{"value": value} for value in values])
        return
    for names, params in in_lists(queries, values):
        tx.run(sql.replace("{values}", names), params)


def _parse(text: str) -> dict[str, str]:
    queries = {}
    for block in text.split("-- name: ")[1:]:
        name, _, body = block.partition("\n")
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        queries[name.strip()] = "\n".join(lines).strip()
    return queries


def fill(sql: str, dialect: str, schema: str | None) -> str:
    """The text with table names and what else depends on the dialect."""
    if dialect == "postgres" and schema is not None:
        sql = re.sub(_NOW, _SERVER_NOW, sql)
        # A list is one parameter, an array; the planner looks each of its values up in an index.
        sql = re.sub(_IN, r"= ANY (ARRAY({\1}))", sql)
    if dialect == "mysql":
        sql = re.sub(_NOW, _MYSQL_NOW, sql)
    names = _names(dialect, schema)
    names["entry_columns"] = _fill(ENTRY_COLUMNS, names)
    return _fill(sql, names)


def _names(dialect: str, schema: str | None) -> dict[str, str]:
    """What stands for each name in braces."""
    prefix = "" if schema is None else f"{quoted(schema)}."
    names = {table: prefix + table for table in TABLES}
    if dialect in _PREFIXED:
        names |= {
            table: f"lakebed_{table}" for table in TABLES if table not in ("lakebed_meta", "staged")
        }
    names["integer"], names["double"] = _TYPES.get(dialect, _TYPES["portable"])
    # SQLite, which keeps no statistics, would rather walk all keys than a short range of versions.
    names["unindexed"] = "+" if dialect == "sqlite" else ""
    if dialect == "postgres" and schema is not None:
        names |= {
            "staged": "pg_temp.staged",
            "schema": quoted(schema),
            "schema_text": f"'{schema}'",
            "lock": str(lock_number(schema)),
        }
    if dialect == "mysql":
        names["table_options"] = _MYSQL_TABLES
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
    """The number of the advisory lock of the lake in a schema."""
    digest = hashlib.sha256(f"lakebed:{schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
