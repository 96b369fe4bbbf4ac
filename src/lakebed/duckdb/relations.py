"""The tables that a query sees, as SQL over the loaded rows."""

from __future__ import annotations

TABLES = frozenset({"entries", "documents", "history", "snapshots", "objects"})
CALLS = frozenset({"entries_at", "changes"})
SEARCH = "search"
"""The table function that searches. It exists at a moment as well."""

_PLACE = (
    "content_hash BLOB, format VARCHAR, byte_size BIGINT, uri VARCHAR, pack_id BIGINT, "
    "position VARCHAR"
)
_ENTRY = (
    "key VARCHAR, version BIGINT, object_id BIGINT, metadata JSON, expires_at TIMESTAMPTZ, "
    f"created_at TIMESTAMPTZ, updated_at TIMESTAMPTZ, {_PLACE}"
)
LOADED = {
    "entries": _ENTRY,
    "documents": f"{_ENTRY}, value JSON",
    "history": f"{_ENTRY}, end_version BIGINT, ended_at TIMESTAMPTZ",
    "objects": f"{_PLACE}, created_at TIMESTAMPTZ",
    "snapshots": (
        "id VARCHAR, name VARCHAR, version BIGINT, message VARCHAR, author VARCHAR, "
        "created_at TIMESTAMPTZ, purged_at TIMESTAMPTZ"
    ),
    "changes": (
        "key VARCHAR, change VARCHAR, before_content_hash VARCHAR, before_byte_size BIGINT, "
        "before_metadata JSON, before_expires_at TIMESTAMPTZ, before_updated_at TIMESTAMPTZ, "
        "after_content_hash VARCHAR, after_byte_size BIGINT, after_metadata JSON, "
        "after_expires_at TIMESTAMPTZ, after_updated_at TIMESTAMPTZ"
    ),
}
"""The loaded columns, by relation. A content that is neither in a file nor in a pack is inline. For
a content in a pack, `uri` is the file of the pack."""

_HASH = "'sha256:' || lower(hex(content_hash)) AS content_hash"
_WHERE = "uri IS NULL AS inlined, {base} || uri || coalesce('#' || position, '') AS storage_uri"
_ENTRY_COLUMNS = (
    f"key, version, {_HASH}, format, byte_size, {_WHERE}, metadata, expires_at, created_at, "
    "updated_at"
)
SHOWN = {
    "entries": _ENTRY_COLUMNS,
    "documents": _ENTRY_COLUMNS,
    "history": f"{_ENTRY_COLUMNS}, end_version, ended_at",
    "objects": f"{_HASH}, format, byte_size, {_WHERE}, created_at",
    "snapshots": "*",
    "changes": "*",
}
"""The columns that a query sees, by relation. They are computed from the loaded ones on demand,
because a hash takes twice the space as text."""


DOCUMENT = "format = 'json'"
"""The condition for the loaded entries that are documents."""


def select(relation: str, table: str, base: str) -> str:
    """Return SQL for what a query sees of a loaded table. `base` is the URI of the storage's
    root."""
    columns = SHOWN[relation].replace("{base}", literal(base))
    return f"SELECT {columns} FROM {table}"


def documents(table: str, base: str, *, fetched: str | None, packs: str | None, stride: int) -> str:
    """Return SQL for entries with their values. The values are loaded with the rows, or fetched one
    by one into the table `fetched`, or read from packs, where the value is in row
    `place - stride * file` of the file. `packs` is the address of all packs together."""
    columns = SHOWN["documents"].replace("{base}", literal(base))
    parts = [f"SELECT {columns}, value FROM {table} WHERE {DOCUMENT} AND uri IS NULL"]
    if fetched is not None:
        parts.append(f"SELECT {columns}, f.value FROM {table} JOIN {fetched} f USING (object_id)")
    if packs:
        parts.append(
            f"SELECT {columns}, CAST(decode(p.packed) AS JSON) AS value FROM {table} JOIN "
            f"(SELECT value AS packed, file_index::BIGINT * {stride} + file_row_number AS place "
            f"FROM {files(packs)}) p USING (place)"
        )
    return " UNION ALL ".join(parts)


def files(address: str) -> str:
    """Return SQL for the Parquet files of an address as one table. Its `file_index` counts them."""
    return f"read_parquet([{literal(address)}])"


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
