"""The tables that a query sees, as SQL over the loaded rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

TABLES = frozenset({"entries", "documents", "history", "snapshots", "objects"})
CALLS = frozenset({"entries_at", "changes"})
SEARCH = "search"
"""The table function that searches. It exists in snapshots too."""

_NONE: Mapping[str, str] = {}
_NULL = "__HIVE_DEFAULT_PARTITION__"
_PLACE = {
    "content_hash": "BLOB", "format": "VARCHAR", "byte_size": "BIGINT", "uri": "VARCHAR",
    "pack_id": "BIGINT", "position": "VARCHAR",
}  # fmt: skip
_ENTRY = {
    "key": "VARCHAR", "version": "BIGINT", "object_id": "BIGINT", "metadata": "JSON",
    "expires_at": "TIMESTAMPTZ", "created_at": "TIMESTAMPTZ", "updated_at": "TIMESTAMPTZ", **_PLACE,
}  # fmt: skip
LOADED: Mapping[str, Mapping[str, str]] = {
    "entries": _ENTRY,
    "documents": {**_ENTRY, "value": "JSON"},
    "history": {**_ENTRY, "end_version": "BIGINT", "ended_at": "TIMESTAMPTZ"},
    "objects": {**_PLACE, "created_at": "TIMESTAMPTZ"},
    "snapshots": {
        "id": "VARCHAR", "name": "VARCHAR", "version": "BIGINT", "message": "VARCHAR",
        "author": "VARCHAR", "created_at": "TIMESTAMPTZ", "purged_at": "TIMESTAMPTZ",
    },
    "changes": {
        "key": "VARCHAR", "change": "VARCHAR", "before_content_hash": "VARCHAR",
        "before_byte_size": "BIGINT", "before_metadata": "JSON",
        "before_expires_at": "TIMESTAMPTZ", "before_updated_at": "TIMESTAMPTZ",
        "after_content_hash": "VARCHAR", "after_byte_size": "BIGINT", "after_metadata": "JSON",
        "after_expires_at": "TIMESTAMPTZ", "after_updated_at": "TIMESTAMPTZ",
    },
}  # fmt: skip
"""The columns that are loaded, with their types, by relation. A content without `uri` is inline. A
content in a pack has the pack's path as `uri`."""

_COMPUTED = {
    "content_hash": ("'sha256:' || lower(hex(content_hash))", "VARCHAR", {"content_hash"}),
    "inlined": ("uri IS NULL", "BOOLEAN", {"uri"}),
    "storage_uri": ("{base} || uri || coalesce('#' || position, '')", "VARCHAR",
                    {"uri", "position"}),
}  # fmt: skip
"""Columns that are computed when they are read, to save memory: a hash as text takes twice the
space. Each has its SQL, its type, and the loaded columns that it needs."""
_OF_OBJECT = ("content_hash", "format", "byte_size", "inlined", "storage_uri")
_OF_ENTRY = (
    "key", "version", *_OF_OBJECT, "metadata", "expires_at", "created_at", "updated_at",
)  # fmt: skip
SHOWN: Mapping[str, tuple[str, ...]] = {
    "entries": _OF_ENTRY,
    "documents": _OF_ENTRY,
    "history": (*_OF_ENTRY, "end_version", "ended_at"),
    "objects": (*_OF_OBJECT, "created_at"),
    "snapshots": tuple(LOADED["snapshots"]),
    "changes": tuple(LOADED["changes"]),
}
"""The columns that a query sees, by relation. Documents also have `value`."""


_FIRST = '0 AS "\x01"'


def loaded_for(relation: str, shown: Set[str] | None) -> frozenset[str]:
    """Return the columns to load so that a query can read the columns `shown`. None means all."""
    columns = LOADED[relation].keys()
    if shown is None:
        return frozenset(columns)
    wanted = set[str]()
    for name in shown:
        wanted |= _COMPUTED[name][2] if name in _COMPUTED else {name}
    if relation == "documents":
        # Fetching a value may need all that the catalog knows about its content.
        wanted |= {"key", "version", "object_id", *_PLACE} if "value" in shown else {"format"}
    return frozenset(wanted & columns)


DOCUMENT = "format = 'json'"
"""The condition for those loaded entries that are documents."""


def shown(relation: str, loaded: Set[str], base: str) -> str:
    """Return SQL for the columns that a query sees of a table with the columns `loaded`. Reading a
    column that was not loaded is an error. `base` is the URI of the storage's root."""
    there, lacking = [], []
    for name in SHOWN[relation]:
        how, kind, needed = _COMPUTED.get(name, (name, "", {name}))
        if needed <= loaded:
            there.append(f"{how.replace('{base}', literal(base))} AS {name}")
        else:
            lacking.append(unread(name, kind or LOADED[relation][name]))
    # Loaded columns come first: DuckDB reads the first column of a union if a query reads none. The
    # order does not matter otherwise, unless all columns are loaded.
    return ", ".join([*(there or [_FIRST]), *lacking])


def unread(name: str, kind: str) -> str:
    """Return SQL for a column that was not loaded, so that reading it is an error."""
    return f"error('the column {name} was not loaded')::{kind} AS {name}"


def select(relation: str, loaded: Set[str], table: str, base: str) -> str:
    """Return the SELECT by which a query sees a table with the columns `loaded`."""
    return f"SELECT {shown(relation, loaded, base)} FROM {table}"


def documents(
    table: str, loaded: Set[str], base: str, *, fetched: str | None, packs: str | None, stride: int
) -> str:
    """Return SQL for entries with their values. Values were loaded with the rows, were fetched into
    the table `fetched`, or are read from packs. `packs` is the address of all packs. The value with
    the number `place` is row `place - stride * file` of the pack with the index `file`."""
    columns = shown("documents", loaded, base)
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


def files(*addresses: str, partitions: Mapping[str, str] = _NONE) -> str:
    """Return SQL for the Parquet files at these addresses as one table. Its `file_index` counts the
    files. DuckDB sorts the files of one address by their names.

    `partitions`: the types of columns whose values are in the names of files
    (`partition_folder`). DuckDB does not open a file whose value a condition excludes.
    """
    listed = ", ".join(map(literal, addresses))
    if not partitions:
        return f"read_parquet([{listed}])"
    types = ", ".join(f"{literal(name)}: {kind}" for name, kind in partitions.items())
    return f"read_parquet([{listed}], hive_partitioning=true, hive_types={{{types}}})"


def partition_folder(columns: Iterable[str], values: Iterable[str | None]) -> str:
    """Return the folders that tell DuckDB the values of columns. Each byte of a value is encoded,
    so that DuckDB cannot take it for a folder or for null."""
    told = zip(columns, values, strict=True)
    return "".join(f"{name}={_NULL if text is None else _encoded(text)}/" for name, text in told)


def _encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a column name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
