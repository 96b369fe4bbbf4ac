"""The tables that a query sees, as SQL over the loaded rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

TABLES = frozenset({"entries", "documents", "history", "snapshots", "objects"})
CALLS = frozenset({"entries_at", "changes"})
SEARCH = "search"
"""The table function that searches. It exists at a moment as well."""

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
"""Columns of what is loaded, with their types, by relation. A content in neither a file nor a pack
lies inline; what lies in a pack has its file as `uri`."""

_COMPUTED = {
    "content_hash": ("'sha256:' || lower(hex(content_hash))", "VARCHAR", {"content_hash"}),
    "inlined": ("uri IS NULL", "BOOLEAN", {"uri"}),
    "storage_uri": ("{base} || uri || coalesce('#' || position, '')", "VARCHAR",
                    {"uri", "position"}),
}  # fmt: skip
"""Columns that are computed from loaded ones when they are asked for, as a hash as text takes twice
the room: how, their type, and of what."""
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
"""Columns of what a query sees, by relation; of documents, beside `value`."""


_FIRST = '0 AS "\x01"'


def loaded_for(relation: str, shown: Set[str] | None) -> frozenset[str]:
    """Return the columns to load so that a query can see these. None means all."""
    columns = LOADED[relation].keys()
    if shown is None:
        return frozenset(columns)
    wanted = set[str]()
    for name in shown:
        wanted |= _COMPUTED[name][2] if name in _COMPUTED else {name}
    if relation == "documents":
        # A value may have to be fetched by what the catalog knows of its content.
        wanted |= {"key", "version", "object_id", *_PLACE} if "value" in shown else {"format"}
    return frozenset(wanted & columns)


DOCUMENT = "format = 'json'"
"""The condition for the loaded entries that are documents."""


def shown(relation: str, loaded: Set[str], base: str) -> str:
    """The columns that a query sees of a table with the loaded ones, as SQL; to read one that was
    not loaded is an error. `base` is the URI of the storage's root."""
    there, lacking = [], []
    for name in SHOWN[relation]:
        how, kind, needed = _COMPUTED.get(name, (name, "", {name}))
        if needed <= loaded:
            there.append(f"{how.replace('{base}', literal(base))} AS {name}")
        else:
            lacking.append(unread(name, kind or LOADED[relation][name]))
    # The order is of interest only to who sees all. Of a union whose columns nobody reads DuckDB
    # reads the first.
    return ", ".join([*(there or [_FIRST]), *lacking])


def unread(name: str, kind: str) -> str:
    """Return SQL for a column that was not loaded. Reading it is an error."""
    return f"error('the column {name} was not loaded')::{kind} AS {name}"


def select(relation: str, loaded: Set[str], table: str, base: str) -> str:
    """Return the SELECT through which a query sees a table with the loaded columns."""
    return f"SELECT {shown(relation, loaded, base)} FROM {table}"


def documents(
    table: str, loaded: Set[str], base: str, *, fetched: str | None, packs: str | None, stride: int
) -> str:
    """Entries with their values: loaded with the rows, fetched one by one into a table of their
    own, or read out of packs, in which row `place - stride * file` of the file is the value.
    `packs` is the address of the packs, all together."""
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
    """Return SQL for the Parquet files of addresses as one table. Its `file_index` counts them.
    DuckDB sorts the files of one address by their names.

    `partitions`: columns whose value is in the names of files (`partition_folder`), with their
    types. DuckDB does not open a file whose value a condition excludes.
    """
    listed = ", ".join(map(literal, addresses))
    if not partitions:
        return f"read_parquet([{listed}])"
    types = ", ".join(f"{literal(name)}: {kind}" for name, kind in partitions.items())
    return f"read_parquet([{listed}], hive_partitioning=true, hive_types={{{types}}})"


def partition_folder(columns: Iterable[str], values: Iterable[str | None]) -> str:
    """Return the folders that tell DuckDB the values of columns. Each byte of a value is encoded,
    so that none is taken for a folder, or for one of the words by which DuckDB knows a null."""
    told = zip(columns, values, strict=True)
    return "".join(f"{name}={_NULL if text is None else _encoded(text)}/" for name, text in told)


def _encoded(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a name as SQL takes it for that of a column."""
    return '"' + name.replace('"', '""') + '"'
