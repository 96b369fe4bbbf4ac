"""What a client of Postgres tidies up as it goes, so that a lake which is only overwritten keeps
its size without any upkeep."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping, Sequence

from lakebed.catalog.executors.base import Row
from lakebed.catalog.executors.postgres import PostgresExecutor
from lakebed.errors import LakebedError

log = logging.getLogger("lakebed.catalog")

EVERY = 1000
"""How many entries a client replaces or deletes until it tidies up."""
_PAGE = 2 * EVERY  # rows that it looks at: more than came, since some have to stay
_STEPS = 3  # where others have left much, it takes that many pages


class Tidying:
    """One client's part in keeping a lake small.

    Others write meanwhile, so what a row leaves cannot go with it, as it does on SQLite. Instead
    who has replaced so many entries removes what is dead by then, in one short statement that waits
    for nobody, and has the server give its space back where much of a small table is dead.
    """

    def __init__(self, executor: PostgresExecutor, queries: Mapping[str, str]) -> None:
        self._executor = executor
        self._queries = queries
        self._replaced = 0  # since tables were last vacuumed
        self._stuck = 0  # dead rows that this could not remove, since somebody may still see them
        self._begin()

    def _begin(self) -> None:
        # Not all of it: else many short lives in a row, of which each replaces a few, tidied never.
        self._left = first_turn()
        self._pid = os.getpid()

    def note(self, replaced: int) -> None:
        """So many entries have been replaced or deleted, and that is committed: nothing fails."""
        if self._pid != os.getpid():
            self._begin()
        self._left -= replaced
        self._replaced += replaced
        if self._left > 0:
            return
        self._left = EVERY
        try:
            self._tidy()
        except LakebedError as error:
            log.warning(
                "what overwritten entries left in the catalog could not be tidied up, and waits "
                "for maintain(): %s",
                error,
            )

    def _tidy(self) -> None:
        for _ in range(_STEPS):
            ((removed,),) = self._run(self._queries["tidy"], {"page": _PAGE})
            if int(removed) < _PAGE // 2:
                break
        if self._replaced > self._stuck:
            self._vacuum()

    def _vacuum(self) -> None:
        worn = self._worn()
        if worn:
            tables = ", ".join(name for name, _ in worn)
            self._run(self._queries["vacuum"].replace("{tables}", tables), {})
            self._replaced = 0
            self._stuck = max((int(dead) for _, dead in self._worn()), default=0)

    def _worn(self) -> Sequence[Row]:
        params = {"replaced": self._replaced, "least": EVERY}
        return self._run(self._queries["worn_tables"], params)

    def _run(self, sql: str, params: Mapping[str, int]) -> Sequence[Row]:
        return self._executor.alone(sql, params)


def first_turn() -> int:
    """How many entries a client replaces before it tidies up for the first time."""
    return random.randint(1, EVERY)  # noqa: S311 - no secret
