"""Tidies up while a client of Postgres writes.

So a lake whose entries are only overwritten keeps its size without any upkeep.
"""

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
"""The number of entries that a client replaces or deletes before it tidies up."""
_PAGE = 2 * EVERY  # rows that it looks at; more than it replaced, because some must stay
_STEPS = 3  # the most pages at a time, if other clients have left much
_SPARSER = 0.8
_PATIENCE = 16


class Tidying:
    """One client's part in keeping a lake small.

    On SQLite, replacing a row also removes what it leaves behind. Here, other clients write at the
    same time, so that is not possible. Instead, a client that has replaced `EVERY` entries removes
    what is dead by then. It takes one short statement that waits for nobody. If much of a small
    table is dead, the client also has the server free the space.
    """

    def __init__(
        self, executor: AutocommitExecutor, queries: Mapping[str, str], index: MetadataIndex
    ) -> None:
        self._executor = executor
        self._index = index
        self._queries = queries
        self._replaced = 0  # entries, since the tables were last vacuumed
        self._wait = 0  # entries to replace until the next time
        self._density = 0.0  # rows in a page after the last time
        self.rests = False  # whether all of this is left to the upkeep
        self._begin()

    def _begin(self) -> None:
        # Less than EVERY at first: otherwise, many short-lived clients in a row would never tidy
        # up.
        self._left = first_turn()
        self._pid = os.getpid()

    def note(self, replaced: int) -> None:
        """Note that a commit replaced or deleted so many entries. This never raises an error."""
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
        with suppress(LockTimeoutError):  # a snapshot, a purge or a collection is running
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
        # Dead rows stay while somebody may see them. Looking again each time would cost more and
        # more.
        sparser = density < _SPARSER * self._density
        self._wait = min(_PATIENCE * EVERY, 2 * max(EVERY, self._wait)) if sparser else 0
        self._density = density

    def _run(self, sql: str, params: Mapping[str, int]) -> Sequence[Row]:
        return self._executor.alone(sql, params)


def first_turn() -> int:
    """Return how many entries a client replaces before it tidies up for the first time."""
    return random.randint(1, EVERY)  # noqa: S311 - no secret
