"""A process's copy of the catalog: a SQLite file, and its position in the log."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from lakebed.catalog.log import bundles
from lakebed.catalog.log.cache import CacheFile, Position
from lakebed.catalog.log.items import (
    Item,
    entry,
    pack_pages,
    unpack_database,
    unpack_image,
    unpack_pages,
)
from lakebed.catalog.log.log import Log
from lakebed.catalog.log.wal import Header, Pages, WriteAheadLog
from lakebed.catalog.sqlite.connections import PAGE_BYTES
from lakebed.catalog.sqlite.errors import is_busy
from lakebed.errors import LockTimeoutError

_CHECKPOINT = 2000  # frames in the copy's write-ahead log before a checkpoint
_COOKIE = slice(40, 44)  # the place of the schema's number in page 1
_PAUSE = 0.0002  # seconds between two tries to lock the copy
_LOCK_SECONDS = 10.0
_Numbered = list[tuple[int, Item]]  # commits with their numbers


class Hidden(NamedTuple):
    """A commit that readers do not see yet: its pages, and the header that shows it."""

    pages: Pages
    header: Header


class LocalCopy:
    """The copy of `log` in the file `cache`. `connect` opens a connection to the file.

    Hold the executor's gate to change the copy. `commits`: the commits since the newest known base,
    without their bodies. `base_bytes`: the size of that base. `block`: the commits of the current
    block, as a bundle needs them.
    """

    def __init__(
        self, cache: CacheFile, log: Log, connect: Callable[[], sqlite3.Connection]
    ) -> None:
        self.log = log
        self.path = cache.path
        self._cache = cache
        self.commits: dict[int, Item] = {}
        self.block: dict[int, Item] = {}
        self.base_bytes = 0
        self.position = Position()
        self.as_of = time.monotonic()
        """The copy holds everything that was in the log at this time, by the steady clock in
        seconds."""
        later = self._go_on(cache)
        if later is None:
            later = self._begin(cache)
        self._keeper = connect()  # SQLite keeps its log and the index while this is open
        with ExitStack() as undo:
            undo.callback(self._keeper.close)
            self._keeper.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
            self._wal = WriteAheadLog(cache.path, PAGE_BYTES)
            undo.pop_all()
            undo.callback(self._close)
            if not self._take(later):
                self.pull()
            undo.pop_all()

    def _go_on(self, cache: CacheFile) -> _Numbered | None:
        """Continue from the file of an earlier process. Return the commits after it.

        Returns None, and empties the file, if the file does not belong to this log, or if a base
        has replaced the commits after it.
        """
        there = cache.position
        if not there.n:
            return None
        commits = self.log.entries(there.n, behind=True)
        _, found = next(commits, (0, None))
        if found is not None and found.token == there.token and found.n <= there.n:
            self.position = there
            return list(commits)
        cache.begin_anew()
        return None

    def _begin(self, cache: CacheFile) -> _Numbered:
        """Fill the file with the newest base and the commits after it, before it is opened.

        Returns the commits that are still to be applied. They begin with a tombstone if another
        client has made a newer base meanwhile. Without a base, they are all commits.
        """
        newest = self.log.hint()
        if newest is None:
            items = list(self.log.entries(1, behind=True))
            if not items or items[0][1].kind != "tombstone":
                return items
            newest = items[0][1]
        with cache.filling(PAGE_BYTES) as image:
            ahead = self.log.ahead(newest.n + 1)
            head, _ = self.log.base(newest, lambda pieces: image.fill(unpack_image(pieces)))
            self.follows(head.n, head.byte_size)
            self.position = Position(head.n, head.last)
            left = [one for one in ahead.result() if one[0] > head.n]
            while left and (body := self._body(*left[0])) is not None:
                image.apply(unpack_pages(body, PAGE_BYTES, image.page))
                self._note(*left.pop(0))
            return left

    def _body(self, number: int, item: Item) -> bytes | None:
        """Return the body of a commit, or None if a base has replaced it."""
        return None if item.kind == "tombstone" else self.log.body(entry(number), item)

    # Following the log.

    def has_newer(self) -> bool:
        """Return whether the log has a commit that this copy lacks."""
        return self.log.get(entry(self.position.n + 1)) is not None

    def pull(self) -> bool:
        """Apply all new commits. Returns whether there were any."""
        before = self.position
        while not self._take(self.log.entries(self.position.n + 1)):
            pass
        return self.position != before

    def _take(self, commits: Iterable[tuple[int, Item]]) -> bool:
        """Apply the next commits. Return False if a base has replaced one of them, which ends
        this."""
        for number, item in commits:
            body = self._body(number, item)
            if body is None:
                if item.kind == "tombstone":
                    self._load(item)
                return False  # otherwise it has just become a tombstone
            self._apply(unpack_pages(body, PAGE_BYTES, self._page))
            self._arrive(number, item)
        return True

    def _load(self, named: Item) -> None:
        """Replace the copy's contents with the newest base. `named`: an item that names a base."""
        head, changed = self.log.base(named, lambda pieces: unpack_database(pieces, PAGE_BYTES))
        self._apply(changed)
        self.position = Position(head.n, head.last)
        self.follows(head.n, head.byte_size)
        self.checkpoint()

    def follows(self, n: int, byte_size: int) -> None:
        """Note that a base holds the commits up to `n`."""
        self.commits = {number: item for number, item in self.commits.items() if number > n}
        self.block = {number: item for number, item in self.block.items() if number > n}
        self.base_bytes = byte_size

    def _note(self, number: int, item: Item) -> None:
        self.position = Position(number, item.token)
        self.commits[number] = item._replace(body=b"")
        if number == bundles.numbers(bundles.block_of(number))[0]:
            self.block = {}
        self.block[number] = bundles.slim(item)

    def _arrive(self, number: int, item: Item) -> None:
        self._note(number, item)
        if self._wal.header().frames > _CHECKPOINT:
            self.checkpoint()

    def _apply(self, changed: Pages) -> None:
        with self._write_lock():
            self._wal.append(changed)

    # Committing.

    def hide(self, commit: Callable[[], object]) -> Hidden | None:
        """Let SQLite commit, and hide the commit at once. Return None if it changed nothing."""
        before = self._wal.header()
        commit()
        after = self._wal.header()
        if after == before:
            return None
        self._show(self._wal.hidden(before, after))
        return Hidden(self._wal.written(before, after), after)

    def put(self, hidden: Hidden) -> bool:
        """Put a hidden commit as the next one in the log.

        Returns True and shows the commit if no other commit has that number, otherwise False.
        """
        number = self.position.n + 1
        item = self.log.commit(number, pack_pages(hidden.pages, self._page))
        if item is None:
            return False
        self._show(hidden.header)
        self._arrive(number, item)
        return True

    def _show(self, header: Header) -> None:
        try:
            with self._write_lock():
                self._wal.show(header)
        except LockTimeoutError:  # the commit must be shown; a reader of half a header repeats
            self._wal.show(header)

    def _page(self, number: int) -> bytes:
        """Return a page as all clients at this position have it.

        Before the first commit, pages differ between clients, so zeros stand for them.
        """
        return self._wal.page(number) if self.position.n else bytes(PAGE_BYTES)

    def changes_schema(self, hidden: Hidden) -> bool:
        """Return whether a commit that lost the race changed the schema.

        SQLite recognises such a change by a number in page 1. It may miss this one, because the
        winning commit may have raised the number to the same value.
        """
        page = hidden.pages.pages.get(1)
        return page is not None and page[_COOKIE] != self._wal.page(1)[_COOKIE]

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        """Hold SQLite's write lock. Readers that find half a header wait for it.

        Such a reader takes the lock for a moment only. Raises LockTimeoutError if it is held for
        longer: then another program has opened the file.
        """
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                self._keeper.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if not is_busy(error):
                    raise
                if time.monotonic() >= end:
                    raise LockTimeoutError(
                        f"another program holds the write lock of {self.path}, the copy of the "
                        f"catalog, for more than {_LOCK_SECONDS:g} seconds"
                    ) from error
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            self._keeper.execute("COMMIT")  # nothing was written

    # The file.

    def checkpoint(self) -> bool:
        """Write the copy's log back to its file, as far as readers allow. Return whether it is
        empty."""
        ((busy, _, _),) = self._keeper.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not busy

    def close(self) -> None:
        """Leave the file to the next process. Only the copy's own connection may still be open."""
        self._close()
        self._cache.release(self.position)
        self.log.close()

    def _close(self) -> None:
        self._keeper.close()
        self._wal.close()

    def leave(self) -> None:
        """In a forked child, leave the file to the parent."""
        self._cache.leave()
