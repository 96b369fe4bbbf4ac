"""The connections of a catalog over SQLAlchemy, for any thread and after a fork."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, NoReturn

from lakebed.catalog.sqlalchemy.connection import Lent
from lakebed.catalog.sqlalchemy.database import Database, DatabaseOptions
from lakebed.catalog.sqlalchemy.mysql import forking
from lakebed.errors import CatalogError, ConnectError, LakebedError
from lakebed.waiting import waiting

if TYPE_CHECKING:
    from sqlalchemy import Engine, PoolProxiedConnection

_DRAIN = 0.005


class SQLAlchemyConnections:
    """A pool of connections to one database.

    A thread that is in a transaction always gets the transaction's connection. `pool_size`: the
    most connections. `echo`: log every statement. `DatabaseOptions` describes the times that it
    waits.
    """

    def __init__(
        self,
        database: Database,
        options: DatabaseOptions,
        *,
        pool_size: int = 5,
        echo: bool = False,
    ) -> None:
        self.database = database
        self.shown = database.shown
        self._options = options
        self._pool_size = pool_size
        self._engine: Engine = database.engine(pool_size, echo)
        self._error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._log = self._engine.logger.info if echo else None
        self._reached = False
        self._closed = False
        self._start()
        _all.add(self)

    def _start(self) -> None:
        self._local = threading.local()

    @contextmanager
    def connection(self) -> Iterator[Lent]:
        """Open a block with a connection of the pool, or with that of this thread's transaction.

        Errors of the driver become errors of `lakebed.errors`. Raises CatalogError once the pool is
        closed.
        """
        lent = self._take()
        try:
            yield lent
        except self._error as error:
            self._fail(lent, error)
        finally:
            self._give_back(lent)

    @property
    def _is_inside(self) -> bool:
        """Return whether this thread is in a transaction. It ends if anything in it fails."""
        return getattr(self._local, "lent", None) is not None

    def _take(self) -> Lent:
        current: Lent | None = getattr(self._local, "lent", None)
        if current is not None:
            return current
        if self._closed:
            raise CatalogError("the lake is closed")
        database = self.database
        return Lent(self._check_out(), database.style, self._log, together=database.together)

    def _check_out(self) -> PoolProxiedConnection:
        from sqlalchemy import exc

        try:
            with nullcontext() if self._reached else waiting(f"no answer from {self.shown} yet"):
                proxied = self._engine.raw_connection()
        except exc.TimeoutError:
            raise ConnectError(
                f"no connection to {self.shown} became free within {self._options.timeout:g} "
                "seconds (pool_size)",
                "connection_timeout",
            ) from None
        except (self._error, exc.DBAPIError) as error:
            cause = getattr(error, "orig", error)
            failure = self._explain(cause)
            # Not repeated at the first connection: a mistake is more likely than an outage.
            raise failure from (cause if self._reached else None)
        except exc.SQLAlchemyError as error:
            # The error's text may hold parameters.
            raise CatalogError(f"{self.shown} failed: {type(error).__name__}") from None
        self._reached = True
        return proxied

    def _give_back(self, lent: Lent) -> None:
        if lent is not getattr(self._local, "lent", None):
            lent.proxied.close()

    def _fail(self, lent: Lent, error: Exception) -> NoReturn:
        """Raise the error of `lakebed.errors`. A lost connection is not used again."""
        if self._is_lost(lent, error) or self.database.is_retired(error):
            lent.drop()
        raise self._explain(error) from error

    def _explain(self, error: Exception) -> LakebedError:
        return self.database.hiding.explained(error, self.database.explain)

    def _is_lost(self, lent: Lent, error: Exception) -> bool:
        if not lent.proxied.is_valid:
            return True
        dialect = self._engine.dialect
        return isinstance(error, dialect.loaded_dbapi.Error) and dialect.is_disconnect(
            error, lent.proxied, lent.cursor
        )

    @contextmanager
    def _inside(self, lent: Lent) -> Iterator[None]:
        """Open a block in which this thread's statements run on this connection."""
        self._local.lent = lent
        try:
            yield
        finally:
            self._local.lent = None

    def close(self) -> None:
        """Let no call begin, wait for running calls, and close all connections."""
        self._closed = True
        deadline = time.monotonic() + self._options.timeout
        mine = self._is_inside
        while self._engine.pool.checkedout() > mine and time.monotonic() < deadline:  # type: ignore[attr-defined]
            time.sleep(_DRAIN)
        self._engine.dispose()

    def before_fork(self, held: ExitStack) -> list[PoolProxiedConnection]:
        """Take all connections, once nobody uses them, if the database runs inside this process.

        The pool's own lock is held until `held` is closed.
        """
        taken = self._take_all() if self.database.inside and not self._closed else []
        # A child would inherit the lock, but not the thread that holds it.
        held.enter_context(self._engine.pool._pool.mutex)  # type: ignore[attr-defined]
        return taken

    def _take_all(self) -> list[PoolProxiedConnection]:
        """Take all connections except this thread's own, once nobody uses them."""
        mine: Lent | None = getattr(self._local, "lent", None)
        taken = [] if mine is None else [mine.proxied]
        while len(taken) < self._pool_size:
            try:
                taken.append(self._check_out())
            except ConnectError:  # a call runs for longer than `timeout`
                continue
            except LakebedError:  # without a file, nobody uses it
                break
        return taken if mine is None else taken[1:]

    def after_fork_in_child(self, taken: Sequence[PoolProxiedConnection]) -> None:
        """Leave the parent's connections alone. New ones are opened when they are needed.

        Connections to SQLite are closed first. SQLite remembers file locks that a child does not
        have.
        """
        mine: Lent | None = getattr(self._local, "lent", None)
        if self.database.inside and mine is not None:
            mine.drop()
        for proxied in taken:
            proxied.invalidate()
        self._engine.dispose(close=False)
        self._start()


_all: weakref.WeakSet[SQLAlchemyConnections] = weakref.WeakSet()
_quiet: list[tuple[SQLAlchemyConnections, list[PoolProxiedConnection]]] = []
_held = ExitStack()


def _before_fork() -> None:
    forking.acquire()
    _quiet.extend((each, each.before_fork(_held)) for each in list(_all))


def _after_fork_in_parent() -> None:
    with ExitStack() as ending:
        ending.callback(forking.release)
        ending.callback(_held.close)
        for _, taken in _quiet:
            for proxied in taken:
                proxied.close()
        _quiet.clear()


def _after_fork_in_child() -> None:
    _held.close()
    for each, taken in _quiet:
        each.after_fork_in_child(taken)
    _quiet.clear()
    forking.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
