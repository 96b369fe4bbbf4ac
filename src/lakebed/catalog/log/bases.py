"""Keeps a log short: makes bases and bundles.

A base is a copy of the whole database. With it, a new client need not read the log from its
beginning, and old commits can be removed. A bundle holds many small commits that came after it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from lakebed.catalog.log import bundles
from lakebed.catalog.log.executor import LogExecutor
from lakebed.catalog.log.guard import log
from lakebed.catalog.log.items import Item, pack_database
from lakebed.catalog.sqlite.scrubbing import VACUUM_BYTES
from lakebed.catalog.sqlite.transaction import SQLiteTransaction
from lakebed.catalog.statements.queries import load_log_queries
from lakebed.errors import LakebedError

_LEAST_BYTES = 1 << 18  # a base is made only if it replaces more bytes of commits
_SHARE = 0.25  # and only if those exceed this share of the newest base
_COMMIT_BYTES = 4096  # bytes that each commit counts in addition to its own, for its request
_LEASE = 300 * 1_000_000  # microseconds during which no other client begins a base
_GRACE = 3600 * 1_000_000  # microseconds for which a replaced base can still be read
_PAUSE = 1.0  # seconds until the next check whether a base is due


class BasedLogExecutor(LogExecutor):
    """A log that keeps itself short.

    If a commit makes a base due or completes a block, a thread of the committing client puts the
    base or the bundle. The client first announces the base in the catalog. Once the base is
    complete, the client overwrites the commits in it with tombstones that name the base, and
    deletes the bases that were replaced more than an hour ago.
    """

    def _start(self) -> None:
        super()._start()
        self._queries = load_log_queries()
        self._maker: threading.Thread | None = None
        self._look_at = 0.0
        self._complete: deque[tuple[int, Mapping[int, Item]]] = deque()  # and their commits

    def _settled(self) -> None:
        """Start the thread if there is work for it. Called after each commit, under the gate."""
        position, known = self.copy.position, self.copy.block
        if position.n % bundles.SIZE == 0:
            self._complete.append((bundles.block_of(position.n), known))
        if not self._complete and not self._wants_base():
            return
        if self._maker is None or not self._maker.is_alive():
            self._maker = threading.Thread(target=self._keep, name="lakebed-base")
            self._maker.start()

    def _wants_base(self) -> bool:
        return self._is_due() and time.monotonic() >= self._look_at

    def _is_due(self) -> bool:
        copy = self.copy
        # Copied first, because other threads commit while this one counts.
        read = sum(_COMMIT_BYTES + item.byte_size for item in list(copy.commits.values()))
        return read > max(_LEAST_BYTES, copy.base_bytes * _SHARE)

    def _keep(self) -> None:
        if self._wants_base():
            try:
                self.make_base(forced=False)
            except LakebedError as error:  # no commit is affected; a later one tries again
                log.warning("the log %s was not shortened: %s", self._shown, error)
            self._look_at = time.monotonic() + _PAUSE
        self._put_bundles()

    def _put_bundles(self) -> None:
        while self._complete:
            block, known = self._complete.popleft()
            try:
                self.copy.log.put_bundle(block, known)
            except LakebedError as error:  # clients then read the commits one by one
                log.info("commits of the log %s were not bundled: %s", self._shown, error)

    def make_base(self, *, forced: bool) -> bool:
        """Put a base of the present state, and replace all commits in it with tombstones.

        Return whether a base was made. Unless `forced`, no base is made if another client has made
        one, or is making one.
        """
        buried = self._last_buried()
        if not forced and not self._is_due():
            return False
        name = self.transact(lambda tx: self._announce(tx, forced))
        if name is None:
            return False
        position, image = self.image()
        body = pack_database(image)
        self.copy.log.put_base(name, position.n, position.token, body)
        numbers = range(buried + 1, position.n + 1)
        known = self.copy.commits
        self.copy.log.bury({n: known.get(n) for n in numbers}, name, position.n)
        self._follows(position.n, len(body))
        self._drop_due(name)
        self.transact(lambda tx: self._finish(tx, name, position.n, len(body)))
        return True

    def _last_buried(self) -> int:
        """Return the number of the last commit that a complete base holds, or 0."""
        if not self.fetch(self._queries["has_table"], {}):
            return 0
        rows = self.fetch(self._queries["newest"], {})
        if not rows:
            return 0
        ((n, byte_size),) = rows
        self._follows(int(n), int(byte_size))
        return int(n)

    def _follows(self, n: int, byte_size: int) -> None:
        self.lock(self._gate, self._lock_timeout)
        try:
            self.copy.follows(n, byte_size)
        finally:
            self._gate.release()

    def _announce(self, tx: SQLiteTransaction, forced: bool) -> str | None:
        queries, now = self._queries, self.now()
        tx.run(queries["make_table"], {})
        if not forced and tx.all(queries["under_way"], {"since": now - _LEASE}):
            return None
        n = self.copy.position.n + 1
        name = f"base/{n}-{secrets.token_hex(8)}"
        tx.run(queries["announce"], {"name": name, "n": n, "now": now})
        return name

    def _finish(self, tx: SQLiteTransaction, name: str, n: int, byte_size: int) -> None:
        queries, now = self._queries, self.now()
        tx.run(queries["replace"], {"n": n, "now": now})
        params = {"name": name, "n": n, "byte_size": byte_size, "now": now}
        tx.run(queries["complete"], params)

    def _drop_due(self, but: str = "") -> None:
        """Delete the bases that were replaced more than an hour ago or never completed, except
        `but`."""
        queries = self._queries
        if not self.fetch(queries["has_table"], {}):
            return
        due = self.fetch(queries["due"], {"since": self.now() - _GRACE, "name": but})
        for (name,) in due:
            self.copy.log.drop_base(name)
        if due:
            names = [{"name": name} for (name,) in due]
            self.transact(lambda tx: tx.many(queries["forget"], names))

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        """Replace everything in the log with a base of the present state.

        Returns, in words, the places where deleted rows may remain. Unless `thorough`, only old
        bases are deleted.
        """
        if self.read_only:
            return ()
        if not thorough:
            self._drop_due()
            return ()
        left = []
        if Path(self.copy.path).stat().st_size <= VACUUM_BYTES:
            self._repeat(self.vacuum, self._lock_timeout)
        else:
            left.append(
                "pages of the catalog, in which SQLite may have left parts of rows that it moved"
            )
        self.make_base(forced=True)
        self.empty_log()
        ((others,),) = self.fetch(self._queries["others"], {})
        if others:
            left.append(
                f"{others} earlier bases of the log, which others may be reading: maintain() "
                "deletes them after an hour"
            )
        left.append(
            "copies of the catalog in the cache folders of other clients, until they read newer "
            "commits"
        )
        return left

    def close(self) -> None:
        maker = self._maker
        if maker is not None and maker is not threading.current_thread():
            maker.join()
            self._put_bundles()  # blocks that were completed while the thread was ending
        super().close()
