"""Creates the schema, and brings an older one up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lakebed.catalog.statements.executor import (
    Executor,
    Params,
    Row,
    Transaction,
    alters,
    is_read_only,
)
from lakebed.errors import CatalogError, ConfigurationError, CorruptionError

SCHEMA_VERSION = 4
"""The schema that this release writes: `schema.sql`, or the migrations up to this number."""


class UnmigratedError(ConfigurationError):
    """The schema is missing or too old, and must not be changed here. `found`: its version, or
    0."""

    def __init__(self, message: str, found: int) -> None:
        super().__init__(message)
        self.found = found


_Fetch = Callable[[str, Params], Sequence[Row]]


def migrate(executor: Executor, queries: Mapping[str, str], *, allowed: bool = True) -> None:
    """Create the schema, or run the migrations that it lacks, under the write lock.

    Raises CatalogError if a newer release has written the schema. Raises ConfigurationError if the
    database holds the tables of something else, or if the schema would have to be changed and that
    is not `allowed`.
    """
    found = _version(executor.fetch, queries)
    if found == SCHEMA_VERSION:
        return
    if is_read_only(executor):
        raise UnmigratedError(
            f"the catalog has {f'schema version {found}' if found else 'no tables yet'}, this "
            f"release needs version {SCHEMA_VERSION}: open it once without read_only",
            found,
        )
    if not allowed:
        raise UnmigratedError(
            f"the catalog has {f'schema version {found}' if found else 'no tables yet'}, this "
            f"release needs version {SCHEMA_VERSION}, and auto_migrate is off: open it once with "
            "auto_migrate=True",
            found,
        )

    def change(tx: Transaction) -> None:
        _migrate(executor, tx, queries)

    if alters(executor):
        executor.alter(change)
    else:
        executor.transact(change, exclusive=True)


def _migrate(executor: Executor, tx: Transaction, queries: Mapping[str, str]) -> None:
    version = _version(tx.all, queries)
    if version == 0:
        schema = executor.dialect.script(executor.schema, "schema.sql")
        assert schema is not None
        tx.script(schema)
        _make_functions(executor, tx, new=True)
        tx.run(queries["insert_meta"], {"name": "schema_version", "value": SCHEMA_VERSION})
        return
    for number in range(version + 1, SCHEMA_VERSION + 1):
        tx.script(executor.dialect.migration(executor.schema, number))
    _make_functions(executor, tx, new=False)
    tx.run(queries["set_meta"], {"name": "schema_version", "value": SCHEMA_VERSION})


def _make_functions(executor: Executor, tx: Transaction, *, new: bool) -> None:
    """Make the functions of this release, where the dialect has some; in place of those of an
    earlier one, but not of somebody else's."""
    text = executor.dialect.script(executor.schema, "functions.sql")
    if text is not None:
        if new:
            text = text.replace("CREATE OR REPLACE FUNCTION", "CREATE FUNCTION")
        tx.script(text)


def _version(fetch: _Fetch, queries: Mapping[str, str]) -> int:
    """The schema's version, 0 for an empty database."""
    tables = {name for (name,) in fetch(queries["table_names"], {})}
    if not tables:
        return 0
    if "lakebed_meta" not in tables:
        raise ConfigurationError(
            f"the database holds other tables ({', '.join(sorted(tables)[:5])}) and no lake: "
            "give the catalog a database of its own, on Postgres a schema"
        )
    rows = fetch(queries["get_setting"], {"name": "schema_version"})
    value = rows[0][0] if rows else None
    if value is None or not str(value).isdecimal():
        raise CorruptionError(f"the catalog is damaged: its schema version is {value!r}")
    version = int(value)
    if version > SCHEMA_VERSION:
        raise CatalogError(
            f"the catalog has schema version {version}, written by a newer Lakebed; this one "
            f"knows versions up to {SCHEMA_VERSION}: upgrade with pip install -U lakebed"
        )
    return version
