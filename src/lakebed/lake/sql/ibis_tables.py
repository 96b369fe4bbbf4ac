"""The lake, and its stored tables, in Ibis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakebed.lake.sql.querying import Querying
from lakebed.lake.sql.table_calls import table, tables
from lakebed.values.tabular import require

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

    from lakebed.lake.sql.stored_tables import StoredTables


class IbisTables(Querying):
    """The calls that return Ibis tables."""

    def ibis(self) -> Backend:
        """Return an Ibis backend on the lake. Its tables are `entries`, `documents`, `history`,
        `snapshots` and `objects`, with the columns that `sql` documents.

        The tables show the lake at one moment, that of this call. The next call updates them. Loads
        the catalog's rows, and the values of documents that are not in packs. Its tables, and those
        of `table`, `tables` and all views `at(…)`, can be joined with each other. Like `sql`, it
        reads nothing but the lake.

        Raises DependencyMissingError if Ibis (extra `ibis`) is not installed, as `table` and
        `tables` do.
        """
        return self._stored_tables().ibis(None)

    def table(self, key: str) -> ir.Table:
        """Return a stored table as an Ibis table. Its file is read when an expression is executed.

        Raises NotFoundError if the key does not exist, and ValidationError if its value is not a
        table.
        """
        return table(self, self._stored_tables(), key, None)

    def tables(self, prefix: str = "", *, widen: bool = False, key_column: str = "key") -> ir.Table:
        """Return all stored tables whose keys begin with `prefix`, as one Ibis table.

        The first column is `key_column` (string): the key of the table from which a row comes. The
        others are the columns of all tables, united by name without regard to case; a column that a
        table lacks is null in its rows. Types are DuckDB's. `widen`: give columns of different
        types one type, if DuckDB has one that holds both. Entries that are not tables are left out.

        Raises NotFoundError if there is no stored table; QueryError, naming two keys, if a column
        has different types, or if a table has a column named `key_column`.
        """
        return tables(self._stored_tables(), prefix, None, widen=widen, key_column=key_column)

    def _stored_tables(self) -> StoredTables:
        require("ibis")
        from lakebed.lake.sql.stored_tables import StoredTables

        engine = self.query_engine()
        if self._ibis is None or not self._ibis.is_for(engine):
            self._ibis = StoredTables(engine, self)
        return self._ibis

    _ibis: StoredTables | None = None
