"""Stored tables in Ibis, of a lake or of its view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.checks import check_key, check_prefix
from lakebed.lake.contents.collected import CollectedError, of_newest

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from lakebed.catalog.protocol import CatalogReads
    from lakebed.lake.sql.stored_tables import StoredTables
    from lakebed.model import Moment

_ATTEMPTS = 5


def table(catalog: CatalogReads, stored: StoredTables, key: str, moment: Moment | None) -> ir.Table:
    """Return the stored table of a key, from the catalog of a lake or a view.

    Raises NotFoundError if the key does not exist, and ValidationError if its value is not a table.
    """
    found = of_newest(catalog, check_key(key), lambda row: stored.table(row, moment))
    if found is None:
        raise NotFoundError(f"no entry with the key {key!r}")
    return found


def tables(
    stored: StoredTables, prefix: str, moment: Moment | None, *, widen: bool, key_column: str
) -> ir.Table:
    """Return the stored tables under a prefix."""
    from lakebed.duckdb.conditions import Bounds

    if not isinstance(key_column, str) or not key_column or not _is_text(key_column):
        raise ValidationError(f"key_column is {key_column!r}: expected the name of a column")
    bounds = Bounds(*check_prefix(prefix))
    attempts = _ATTEMPTS
    while True:
        try:
            return stored.tables(prefix, bounds, moment, widen=widen, key_column=key_column)
        except CollectedError:  # a table in the catalog that was replaced
            attempts -= 1
            if not attempts:
                raise


def _is_text(name: str) -> bool:
    """Return whether a name can be used in SQL: it has no NUL and no lone surrogates."""
    return "\0" not in name and name.encode(errors="replace").decode() == name
