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
        | `entries` | the entries: the columns are the fields of `Entry` |
        | `documents` | the entries of the format `json`, with their `value` |
        | `history` | all versions that are kept, with `end_version` and `ended_at`, which are \
null for a current version |
        | `snapshots` | the snapshots: the columns are the fields of `Snapshot` |
        | `objects` | the contents: `content_hash`, `format`, `byte_size`, `inlined`, \
`storage_uri`, `created_at` |
        | `entries_at(a)` | the entries at a snapshot (name or id) or, with `history="all"`, a \
version |
        | `search(question, n)` | `key` and `score` of the `n` best hits of `search`, 10 if left \
out |
        | `changes(a, b)` | what differs between two snapshots or versions (`b` null: now): `key`, \
`change` (`added`, `changed`, `removed`), and with `before_` and `after_` each `content_hash`, \
`byte_size`, `metadata`, `expires_at`, `updated_at` |

        `metadata` and `value` are JSON, and times are TIMESTAMPTZ. `version`, `end_version` and
        `byte_size` are BIGINT, `inlined` is BOOLEAN and `score` DOUBLE. All others are VARCHAR.

        `params`: a sequence of values for `?` or `$1`, or a mapping for `$name`. The catalog
        evaluates conditions on `key` and on text fields of `metadata`. Values are read only if the
        query uses them.

        The query must be one SELECT or EXPLAIN that reads only these tables. With
        `external_access` it can be any statement. It can then read and write files and use the
        network, with the rights of the process, so never pass text from somebody else.

        Raises QueryError if the query is not allowed, if DuckDB refuses it, or if it needs more
        time, memory or disk than `query_settings` allows. Raises NotFoundError if a snapshot does
        not exist. Ctrl-C, or an exception in the calling thread, ends the query within a second.
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
        """Set the limits of queries. They apply from the next query on. Open results end.

        - `threads`: the number of threads. The default is one per core.
        - `memory_limit`: such as `"2GB"`. The default is four fifths of the machine's memory.
        - `temp_directory`: where queries make a folder for data that does not fit into memory. The
          default is the system's temporary folder. Closing the lake deletes the made folder.
        - `timeout`: how many seconds a query of `sql` may take, including loading and fetching but
          not the time between two fetches. For a query of Ibis, the time after its tables are
          loaded. The default is no limit.
        - `spill_limit`: the most bytes in that folder, such as `"50GB"`. The default is 10 GB, or a
          tenth of the free space if that is less.

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

        The tables show the lake as it is at the time of this call. The next call updates them. The
        call loads the catalog's rows, and the values of documents that are not in packs. These
        tables, and those of `table`, `tables` and all views `at(…)`, can be joined with each other.
        Like `sql`, the backend reads nothing but the lake.

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

        The first column is named `key_column` and has the key of each row's table (string). The
        others are the columns of all tables, united by name without regard to case. If a table does
        not have a column, the column is null in its rows. Types are DuckDB's. `widen`: give a
        column of different types one type, if DuckDB has one that holds both. Entries that are not
        tables are left out.

        Raises NotFoundError if there is no stored table. Raises QueryError if a table has a column
        named `key_column`, and if a column has different types; the error names two keys.
        """
        return tables(
            self._queries.stored_tables(), prefix, None, widen=widen, key_column=key_column
        )
