"""SQL queries over a lake."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from lakebed.errors import CatalogError, ValidationError
from lakebed.lake.checks import check_count
from lakebed.lake.history.snapshots import Snapshots

if TYPE_CHECKING:
    from lakebed.duckdb.result import QueryResult
    from lakebed.lake.search.searching import Searching
    from lakebed.lake.sql.engine import QueryEngine
    from lakebed.model import Moment


class Querying(Snapshots):
    """The calls that query in SQL."""

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
        return self._query(query, params, external=external_access)

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
        with _starting:
            self._query_settings = (threads, memory_limit, temp_directory, timeout, spill_limit)
            self._close_engines()

    def _query(
        self,
        query: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        moment: Moment | None = None,
        *,
        view: Searching | None = None,
        external: bool = False,
    ) -> QueryResult:
        searched = view or cast("Searching", self)  # a scope uses the settings of its lake

        def searching(question: str, wanted: int) -> Iterator[tuple[str, float]]:
            return ((hit.key, hit.score) for hit in searched.search(question, limit=wanted))

        engine = self.query_engine(external=external)
        return engine.run(query, params, lambda name: self._moment(name)[0], searching, moment)

    def query_engine(self, *, external: bool = False) -> QueryEngine:
        """Return the DuckDB session over this lake. The first call starts it."""
        from lakebed.duckdb.session import QuerySettings
        from lakebed.lake.sql.engine import QueryEngine

        with _starting:
            engine = self._engines.get(external)
            if engine is not None and engine.pid != os.getpid():
                # A forked child does not have DuckDB's threads, so it cannot even close the
                # session.
                _inherited.append(engine)
                engine = None
            if engine is None:
                if self._ended:
                    raise CatalogError("the lake is closed")
                settings = QuerySettings(*self._query_settings)
                engine = QueryEngine(
                    self, self._catalog, self._objects, settings, external=external
                )
                self._engines[external] = engine
        return engine

    def _close_engines(self) -> None:
        for engine in self._engines.values():
            if engine.pid == os.getpid():
                engine.close()
        self._engines = {}


_starting = threading.RLock()
_inherited: list[QueryEngine] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_starting.acquire,
        after_in_parent=_starting.release,
        after_in_child=_starting.release,
    )
