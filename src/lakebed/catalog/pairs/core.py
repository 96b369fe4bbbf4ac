"""What a catalog over pairs asks of its store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from lakebed.catalog.pairs.commit import Commit
from lakebed.catalog.pairs.records import Overlay, Pairs, Records

T = TypeVar("T")


class PairStore(ABC):
    """A store of pairs of a name and a text in order, safe to use from any thread."""

    @abstractmethod
    def now(self) -> int:
        """Return the time in microseconds since the epoch."""

    @abstractmethod
    def read(self, work: Callable[[Pairs], T]) -> T:
        """Return the result of `work`, which reads the pairs of one state."""

    @abstractmethod
    def transact(self, work: Callable[[Pairs], T]) -> T:
        """Return the result of `work` in a transaction that overlaps no other one, of any client.

        When the call returns, all that `work` changed is kept. If `work` raises, nothing has
        changed. It may be called again. Raises LockTimeoutError if others write for too long.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the store. Later calls raise CatalogError."""

    def _reading(self, work: Callable[[Records], T]) -> T:
        return self.read(lambda pairs: work(Records(pairs)))

    def _writing(self, work: Callable[[Records, Commit], T]) -> T:
        def run(pairs: Pairs) -> T:
            records = Records(pairs)
            result = work(records, Commit(records, self.now()))
            records.draw("changes")
            return result

        return self.transact(run)

    def _rehearse(self, work: Callable[[Records, Commit], T]) -> T:
        """Return what `work` would return in a transaction, without any change."""

        def run(pairs: Pairs) -> T:
            records = Records(Overlay(pairs))
            return work(records, Commit(records, self.now()))

        return self.read(run)
