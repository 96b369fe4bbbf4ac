"""The store that a catalog over pairs needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from lakebed.catalog.pairs.commit import Commit
from lakebed.catalog.pairs.records import Overlay, Pairs, Records

T = TypeVar("T")


class PairStore(ABC):
    """An ordered store of pairs of a name and a text, for use from any thread."""

    @abstractmethod
    def now(self) -> int:
        """Return the time in microseconds since the epoch."""

    @abstractmethod
    def read(self, work: Callable[[Pairs], T]) -> T:
        """Return the result of `work`, which reads the pairs at one moment."""

    @abstractmethod
    def transact(self, work: Callable[[Pairs], T]) -> T:
        """Return the result of `work` in a transaction that overlaps no other one, of any client.

        Once the call returns, all changes of `work` are durable. If `work` raises, nothing has
        changed. `work` may be called more than once. Raises LockTimeoutError if others write for
        too long.
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
        """Return the result that `work` would have in a transaction, without changing anything."""

        def run(pairs: Pairs) -> T:
            records = Records(Overlay(pairs))
            return work(records, Commit(records, self.now()))

        return self.read(run)
