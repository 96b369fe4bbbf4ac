"""Queries over a lake, in SQL and in Ibis."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lakebed.errors import ValidationError
from lakebed.lake.checks import check_count
from lakebed.lake.history.snapshots import Snapshots
from lakebed.lake.searching import Searching
from lakebed.lake.sql.table_calls import table, tables

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

    from lakebed.duckdb.result import QueryResult
    from lakebed.lake.sql.engine import QueryEngine


class Querying(Snapshots, Searching):
    """The calls that query in SQL and Ibis."""

    def sql(
        self,
        query: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        *,
        external_access: bool = False,
    ) -> QueryResult:
        """Run a SELECT, in DuckDB's SQL, over the lake at one moment, and return its result.

        | table | |
        | --- | --- |
        | `entries` | the entries, with the fields of `Entry`; `metadata` as JSON |
        | `documents` | the entries of the format `json`, with their `value` as JSON |
        | `history` | all versions that are kept, with `end_version` and `ended_at`: null for one \
that stands |
        | `snapshots` | with the fields of `Snapshot` |
        | `objects` | the contents: `content_hash`, `format`, `byte_size`, `inlined`, \
`storage_uri`, `created_at` |
        | `entries_at(a)` | the entries at a snapshot (name or id) or, with `history="all"`, a \
version |
        | `search(question, n)` | `key` and `score` of the `n` best hits of `search`, 10 if left \
out |
        | `changes(a, b)` | what differs between two of them, or one and now: `key`, `change` and \
the two states |

        `params`: a sequence of values for `?` or `$1`, or a mapping for `$name`. The catalog
        evaluates conditions on `key` and on text fields of `metadata`. Values are read only if the
        query uses them.

        The query must be one SELECT or EXPLAIN that reads only these tables. With
        `external_access` it may be any statement, read and write files, and use the network, with
        the rights of the process: never pass text from somebody else then.

        Raises QueryError if the query is not allowed, if DuckDB refuses it, or if it needs more
        time, memory or disk than `query_settings` allows; NotFoundError if a snapshot does not
        exist. Ctrl-C, or an exception raised in the calling thread, ends the query within a second.
        """
        engine = self._queries.engine(external=external_access)
        return engine.run(query, params, self._resolve, self._scores)

    def query_settings(
        self,
        *,
        threads: int | None = None,
        memory_limit: str | None = None,
        temp_directory: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        spill_limit: str | None = None,
    ) -> None:
        """Set what queries may use. It applies from the next query on; open results end.

        `threads`: the number of threads (default: one per core).
        `memory_limit`: such as `"2GB"` (default: four fifths of the machine's memory).
        `temp_directory`: where queries make a folder for data that does not fit into memory
        (default: the system's temporary folder). Closing the lake deletes the folder.
        `timeout`: how many seconds a query of `sql` may run, including loading and fetching but not
        the time between two fetches, or a query of Ibis after its tables are loaded (default: no
        limit).
        `spill_limit`: how much that folder may hold, such as `"50GB"` (default: 10 GB, or a tenth
        of the free space if that is less).

        Raises ValidationError for any other value.
        """
        if threads is not None:
            check_count("threads", threads, least=1)
        for name, size in (("memory_limit", memory_limit), ("spill_limit", spill_limit)):
            if size is not None and not isinstance(size, str):
                raise ValidationError(f"{name} is {size!r}: expected text such as '2GB'")
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0
        ):
            raise ValidationError(f"timeout is {timeout!r}: expected seconds above zero")
        from lakebed.duckdb.session import QuerySettings  # loads DuckDB

        self._queries.set(
            QuerySettings(threads, memory_limit, temp_directory, timeout, spill_limit)
        )

    def query_engine(self, *, external: bool = False) -> QueryEngine:
        """Return the DuckDB session over this lake. The first call starts it."""
        return self._queries.engine(external=external)

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
        return self._queries.stored_tables().ibis(None)

    def table(self, key: str) -> ir.Table:
        """Return a stored table as an Ibis table. Its file is read when an expression is executed.

        Raises NotFoundError if the key does not exist, and ValidationError if its value is not a
        table.
        """
        return table(self._catalog, self._queries.stored_tables(), key, None)

    def tables(self, prefix: str = "", *, widen: bool = False, key_column: str = "key") -> ir.Table:
        """Return all stored tables whose keys begin with `prefix`, as one Ibis table.

        The first column is `key_column` (string): the key of the table from which a row comes. The
        others are the columns of all tables, united by name without regard to case; a column that a
        table lacks is null in its rows. Types are DuckDB's. `widen`: give columns of different
        types one type, if DuckDB has one that holds both. Entries that are not tables are left out.

        Raises NotFoundError if there is no stored table; QueryError, naming two keys, if a column
        has different types, or if a table has a column named `key_column`.
        """
        return tables(
            self._queries.stored_tables(), prefix, None, widen=widen, key_column=key_column
        )
