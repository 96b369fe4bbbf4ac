"""Create and migrate the table of documents."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from lakebed.catalog.statements.dialect import quoted
from lakebed.errors import CatalogError, ConfigurationError

TABLE: Final = "lakebed_metadata"
VERSION: Final = 1
"""The schema version that this release writes. The table's comment has the table's version."""
_MARK: Final = "Documents of Lakebed, schema "
_LOCK: Final = 0x6C61_6B65_6D64  # "lakemd": an advisory lock, so that one client at a time migrates

# This reads the system tables: to_regclass gives a stale answer to a transaction that has waited.
_VERSION = """SELECT obj_description(c.oid, 'pg_class') FROM pg_class AS c
 JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s"""
_MIGRATIONS: Final = (
    """
    CREATE TABLE {table} (
        "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        "collection" text COLLATE "C" NOT NULL,
        "doc_id" text COLLATE "C" NOT NULL,
        "data" jsonb NOT NULL CHECK (jsonb_typeof("data") = 'object'),
        "created_at" timestamptz NOT NULL DEFAULT now(),
        "updated_at" timestamptz NOT NULL DEFAULT now(),
        CONSTRAINT "lakebed_metadata_document" UNIQUE ("collection", "doc_id")
    );
    CREATE INDEX "lakebed_metadata_data" ON {table} USING gin ("data" jsonb_path_ops);
    CREATE INDEX "lakebed_metadata_text" ON {table}
        USING gin (to_tsvector('pg_catalog.english', "data"));
    """,
)
"""The steps from each schema to the next, forward only."""

Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Sequence[Any]]]]
Script = Callable[[str], Awaitable[None]]


def table_of(schema: str) -> str:
    """Return the name of the table, quoted for SQL."""
    return f"{quoted(schema)}.{quoted(TABLE)}"


async def migrate(schema: str, fetch: Fetch, script: Script, *, allowed: bool) -> None:
    """Create the table, or run the missing migrations. Several clients can do so at once.

    `fetch` returns the rows of a statement, `script` runs several statements. Raises
    ConfigurationError if the table belongs to another program, or if it must be changed and that is
    not `allowed`. Raises CatalogError if a newer release has written it.
    """
    table = table_of(schema)
    found = await _version(schema, fetch)
    if found == VERSION:
        return
    if not allowed:
        raise ConfigurationError(
            f"the table {table} "
            + (f"has schema version {found}" if found else "does not exist")
            + f", this release needs version {VERSION}, and auto_migrate is off"
        )
    lock = f"SELECT pg_advisory_xact_lock({_LOCK});"
    await script(f"BEGIN; SET LOCAL search_path = pg_catalog; {lock}")
    found = await _version(schema, fetch)  # another client may have done it meanwhile
    steps = [f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)};"] if found == 0 else []
    steps += [step.format(table=table) for step in _MIGRATIONS[found:]]
    if found < VERSION:
        await script(f"{''.join(steps)} COMMENT ON TABLE {table} IS '{_MARK}{VERSION}'; COMMIT")
    else:
        await script("COMMIT")


async def _version(schema: str, fetch: Fetch) -> int:
    rows = await fetch(_VERSION, (schema, TABLE))
    if not rows:
        return 0
    ((comment,),), table = rows, table_of(schema)
    number = (comment or "").removeprefix(_MARK)
    if not (comment or "").startswith(_MARK) or not number.isdecimal():
        raise ConfigurationError(
            f"{table} was not made for documents: choose another schema with the option schema"
        )
    if int(number) > VERSION:
        raise CatalogError(
            f"{table} has schema version {number}, written by a newer Lakebed; this one knows "
            f"versions up to {VERSION}: upgrade with pip install -U lakebed"
        )
    return int(number)
