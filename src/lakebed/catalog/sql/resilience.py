"""A SQL catalog on a server: what fails for a reason that passes is done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from lakebed.catalog.sql.catalog import SQLCatalog
from lakebed.model import Collected

if TYPE_CHECKING:
    from lakebed.catalog.scan import CatalogScan, Scan
    from lakebed.catalog.search_rows import SearchReading

P = ParamSpec("P")
T = TypeVar("T")


def _repeated(
    method: Callable[Concatenate[SQLCatalog, P], T],
) -> Callable[Concatenate[SQLCatalog, P], T]:
    def call(self: SQLCatalog, /, *args: P.args, **options: P.kwargs) -> T:
        return self._executor.repeat(lambda: method(self, *args, **options))

    call.__doc__ = method.__doc__
    return call


class ResilientCatalog(SQLCatalog):
    """Repeats whole transactions: after a deadlock, a lost connection, or a server's restart.

    An executor raises what may be repeated only if nothing has happened; a commit whose answer was
    lost it has settled before. Single reads it repeats itself. Iterables that it is given are gone
    through again.
    """

    def collect(self, after: int, limit: int, *, dry_run: bool = False) -> Collected:
        if not dry_run and after <= 0 and "drop_writers" in self._queries:
            self._executor.repeat(self._drop_writers)
        return self._executor.repeat(
            lambda: SQLCatalog.collect(self, after, limit, dry_run=dry_run)
        )

    def _drop_writers(self) -> None:
        """Forget connections that are long gone."""
        with self._executor.write() as tx:
            tx.run(self._queries["drop_writers"], {"now": self._executor.stamp()})

    @contextmanager
    def scan(self, wanted: Sequence[Scan]) -> Iterator[CatalogScan]:
        def enter() -> tuple[ExitStack, CatalogScan]:
            with ExitStack() as stack:
                scan = stack.enter_context(SQLCatalog.scan(self, wanted))
                return stack.pop_all(), scan

        stack, scan = self._executor.repeat(enter)
        with stack:
            yield scan

    settings = _repeated(SQLCatalog.settings)
    commit = _repeated(SQLCatalog.commit)
    commit_batch = _repeated(SQLCatalog.commit_batch)
    take = _repeated(SQLCatalog.take)
    lease = _repeated(SQLCatalog.lease)
    discard = _repeated(SQLCatalog.discard)
    expire = _repeated(SQLCatalog.expire)
    create_snapshot = _repeated(SQLCatalog.create_snapshot)
    drop_snapshot = _repeated(SQLCatalog.drop_snapshot)
    moment = _repeated(SQLCatalog.moment)
    restore = _repeated(SQLCatalog.restore)
    preview_restore = _repeated(SQLCatalog.preview_restore)
    prune = _repeated(SQLCatalog.prune)
    purge = _repeated(SQLCatalog.purge)
    preview_purge = _repeated(SQLCatalog.preview_purge)
    wear = _repeated(SQLCatalog.wear)
    expedite = _repeated(SQLCatalog.expedite)
    lapse_leases = _repeated(SQLCatalog.lapse_leases)
    forget_trash = _repeated(SQLCatalog.forget_trash)
    add_trash = _repeated(SQLCatalog.add_trash)
    unknown = _repeated(SQLCatalog.unknown)
    note_orphans_listed = _repeated(SQLCatalog.note_orphans_listed)
    move = _repeated(SQLCatalog.move)
    mend = _repeated(SQLCatalog.mend)
    replace = _repeated(SQLCatalog.replace)
    next_waiting = _repeated(SQLCatalog.next_waiting)
    add_segment = _repeated(SQLCatalog.add_segment)
    replace_segments = _repeated(SQLCatalog.replace_segments)
    unheld_versions = _repeated(SQLCatalog.unheld_versions)
    remember = _repeated(SQLCatalog.remember)
    tidy_metadata = _repeated(SQLCatalog.tidy_metadata)

    def search(self, look: Callable[[SearchReading], T]) -> T:
        return self._executor.repeat(lambda: SQLCatalog.search(self, look))
