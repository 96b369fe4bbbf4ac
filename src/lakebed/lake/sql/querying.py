"""Queries in SQL over a lake."""

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
    """The calls that query."""

    def sql(
        self,
        query: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        *,
        external_access: bool = False,
    ) -> QueryResult:
        """The result of a SELECT, in DuckDB's SQL, over the lake as it is at one moment.

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

        `params`: values for `?` or `$1` as a sequence, for `$name` as a mapping. Conditions on
        `key` and on text fields of `metadata` are looked up in the catalog; values are read only if
        the query uses them, out of the packs that it needs.

        The query is one SELECT or EXPLAIN that reads these tables and nothing else. With
        `external_access` it may be any statement, read and write files and go to the network, as
        the rights of the process allow: never pass on what somebody else has written then.

        Raises QueryError for what is not allowed, what DuckDB refuses, and what takes more time,
        memory or room than `query_settings` allows; NotFoundError for a snapshot that is not there.
        Ctrl-C, or an exception that is raised in the calling thread, ends it within a second.
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
        """Set what queries may use; the next one begins with it, and open results end.

        `threads`: one a core, unless given. `memory_limit`: such as `"2GB"`; four fifths of the
        machine's, unless given. `temp_directory`: the folder for what does not fit, in a folder of
        its own that goes when the lake is closed; the system's, unless given. `timeout`: the
        seconds that one query of `sql` may work, loading and fetching included, the time between
        two fetches not, and one of Ibis once its tables are loaded; unlimited, unless given.
        `spill_limit`: how much may lie in that folder, such as `"50GB"`; 10 GB, or a tenth of what
        is free there if that is less, unless given.

        Raises ValidationError for what is none of these.
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
        searched = view or cast("Searching", self)  # the lake that this is a part of

        def searching(question: str, wanted: int) -> Iterator[tuple[str, float]]:
            return ((hit.key, hit.score) for hit in searched.search(question, limit=wanted))

        engine = self.query_engine(external=external)
        return engine.run(query, params, lambda name: self._moment(name)[0], searching, moment)

    def query_engine(self, *, external: bool = False) -> QueryEngine:
        """The DuckDB session over this lake, started when it is first asked for."""
        from lakebed.duckdb.session import QuerySettings
        from lakebed.lake.sql.engine import QueryEngine

        with _starting:
            engine = self._engines.get(external)
            if engine is not None and engine.pid != os.getpid():
                # DuckDB's threads are not in a forked child, so the session cannot even be closed.
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
