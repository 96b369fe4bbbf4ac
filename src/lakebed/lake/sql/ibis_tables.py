"""The lake, and the tables stored in it, in Ibis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakebed.lake.sql.querying import Querying
from lakebed.lake.sql.table_calls import table, tables

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

    from lakebed.lake.sql.stored_tables import StoredTables


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
