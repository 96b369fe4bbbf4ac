"""The lake, and the tables stored in it, in Ibis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.checks import check_key, check_prefix
from lakebed.lake.sql.querying import Querying

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

    from lakebed.lake.base import LakeBase
    from lakebed.lake.sql.stored_tables import StoredTables
    from lakebed.model import Moment


class IbisTables(Querying):
    """The calls that give tables of Ibis."""

    def ibis(self) -> Backend:
        """An Ibis backend on the lake, with the tables `entries`, `documents`, `history`,
        `snapshots` and `objects`, which have the columns that `sql` tells.

        They show the lake as it is at this call, all at one moment; the next call brings them up to
        date. Loads the catalog's rows, and the values of documents that do not lie in packs. Its
        tables, those of `table` and `tables`, and those of all views `at(…)` join with each other.
        Like `sql`, it reads the lake and nothing else.
        """
        return self._stored_tables().ibis(None)

    def table(self, key: str) -> ir.Table:
        """A stored table as a table of Ibis, read where it lies when an expression is executed.

        Raises NotFoundError if the key is not there, ValidationError if its value is no table.
        """
        return table(self, self._stored_tables(), key, None)

    def tables(self, prefix: str = "", *, widen: bool = False, key_column: str = "key") -> ir.Table:
        """All stored tables whose key begins with `prefix`, as one table of Ibis.

        Its first column is `key_column` (string), the key of the table that a row is from; the
        others are those of the tables, united by name without regard to case: a column that a table
        lacks is null in its rows. Types are DuckDB's. `widen` makes one type of different ones,
        where DuckDB knows one that holds both. Entries that are no tables are left out.

        Raises NotFoundError if there is no stored table; QueryError, naming two keys, for a column
        of different types, and for one that is called like `key_column`.
        """
        return tables(self._stored_tables(), prefix, None, widen=widen, key_column=key_column)

    def _stored_tables(self) -> StoredTables:
        from lakebed.lake.sql.stored_tables import StoredTables

        engine = self.query_engine()
        if self._ibis is None or not self._ibis.is_for(engine):
            self._ibis = StoredTables(engine, self)
        return self._ibis

    _ibis: StoredTables | None = None


def table(lake: LakeBase, stored: StoredTables, key: str, moment: Moment | None) -> ir.Table:
    """The stored table of a key, of a lake or a view of one."""
    row = lake._catalog.get(check_key(key))
    if row is None:
        raise NotFoundError(f"no entry with the key {key!r}")
    return stored.table(row, moment)


def tables(
    stored: StoredTables, prefix: str, moment: Moment | None, *, widen: bool, key_column: str
) -> ir.Table:
    """The stored tables under a prefix."""
    from lakebed.duckdb.conditions import Bounds

    if not isinstance(key_column, str) or not key_column or not _is_text(key_column):
        raise ValidationError(f"key_column is {key_column!r}: expected the name of a column")
    bounds = Bounds(*check_prefix(prefix))
    return stored.tables(prefix, bounds, moment, widen=widen, key_column=key_column)


def _is_text(name: str) -> bool:
    """Whether SQL can say a name: without NUL and lone surrogates."""
    return "\0" not in name and name.encode(errors="replace").decode() == name
