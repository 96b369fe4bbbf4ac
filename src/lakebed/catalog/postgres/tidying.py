"""Tidies up as a client of Postgres writes, so that a lake which is only overwritten keeps its size
without any upkeep."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress

from lakebed.catalog.sql.metadata import MetadataIndex
from lakebed.catalog.statements.executor import AutocommitExecutor, Row
from lakebed.errors import LakebedError, LockTimeoutError

log = logging.getLogger("lakebed.catalog")

EVERY = 1000
"""How many entries a client replaces or deletes until it tidies up."""
_PAGE = 2 * EVERY  # rows that it looks at: more than came, since some have to stay
_STEPS = 3  # where others have left much, it takes that many pages
_SPARSER = 0.8
_PATIENCE = 16


class Tidying:
    """One client's part in keeping a lake small.

    Other clients write meanwhile, so what a row leaves cannot go with it, as it does on SQLite.
    Instead, a client that has replaced so many entries removes what is dead by then, in one short
    statement that waits for nobody. If much of a small table is dead, it has the server give the
    space back.
    """

    def __init__(
        self, executor: AutocommitExecutor, queries: Mapping[str, str], index: MetadataIndex
    ) -> None:
        self._executor = executor
        self._index = index
        self._queries = queries
        self._replaced = 0  # since tables were last vacuumed
        self._wait = 0  # how many are to be replaced until the next time
        self._density = 0.0  # rows in a page, as the last time left them
        self.rests = False  # whether it leaves all of this to upkeep
        self._begin()

    def _begin(self) -> None:
        # Not all of it: else many short lives in a row, of which each replaces a few, tidied never.
        self._left = first_turn()
        self._pid = os.getpid()

    def note(self, replaced: int) -> None:
        """Note that so many entries were replaced or deleted, which is committed. This never
        fails."""
        if self.rests:
            return
        if self._pid != os.getpid():
            self._begin()
        self._left -= replaced
        self._replaced += replaced
        if self._left > 0:
            return
        self._left = EVERY
        try:
            self._tidy(replaced)
        except LakebedError as error:
            log.warning(
                "what overwritten entries left in the catalog could not be tidied up, and waits "
                "for maintain(): %s",
                error,
            )

    def _tidy(self, replaced: int = EVERY) -> None:
        for _ in range(_STEPS):
            ((removed,),) = self._run(self._queries["tidy"], {"page": _PAGE})
            if int(removed) < _PAGE // 2:
                break
        with suppress(LockTimeoutError):  # a snapshot, a purge or a collection is at work
            most = 2 * max(EVERY, replaced)
            self._index.tidy(lambda: False, most=most, patient=False)
        if self._replaced >= self._wait:
            self._vacuum()

    def _vacuum(self) -> None:
        params = {"replaced": self._replaced, "least": EVERY}
        worn = self._run(self._queries["worn_tables"], params)
        if not worn:
            return
        tables = ", ".join(name for (name,) in worn)
        self._run(self._queries["vacuum"].replace("{tables}", tables), {})
        self._replaced = 0
        ((density,),) = self._run(self._queries["row_density"], {})
        # While somebody may still see dead rows they stay, and to look again each time costs more
        # and more.
        sparser = density < _SPARSER * self._density
        self._wait = min(_PATIENCE * EVERY, 2 * max(EVERY, self._wait)) if sparser else 0
        self._density = density

    def _run(self, sql: str, params: Mapping[str, int]) -> Sequence[Row]:
        return self._executor.alone(sql, params)


def first_turn() -> int:
    """How many entries a client replaces before it tidies up for the first time."""
    return random.randint(1, EVERY)  # noqa: S311 - no secret
