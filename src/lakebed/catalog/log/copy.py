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

_CHECKPOINT = 2000  # frames in the log of the copy
_COOKIE = slice(40, 44)  # the number of the schema, in page 1
_PAUSE = 0.0002  # seconds between two tries to lock the copy
_LOCK_SECONDS = 10.0
_Numbered = list[tuple[int, Item]]  # commits with their numbers


class Hidden(NamedTuple):
    """A commit that readers do not see: its pages, and the header that would show it."""

    pages: Pages
    header: Header


class LocalCopy:
    """The copy in `cache` of `log`. `connect` opens a connection to it.

    To change it, hold the executor's gate. `commits`: the commits since the newest known base,
    without their bodies. `base_bytes`: the size of that base. `block`: the commits of the present
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
        """What was in the log at this moment is in the copy as it is opened."""
        later = self._go_on(cache)
        if later is None:
            later = self._begin(cache)
        self._keeper = connect()  # as long as it is open, SQLite keeps its log and the index
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
        """Go on from what an earlier process has left, if it still belongs to this log and no base
        has replaced the commits after it. Returns those commits, or else None."""
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
        """Fill the file, before it is opened, with the newest base, if there is one, and the
        commits after it. Returns those that are left to take, from a tombstone on if others have
        made another base meanwhile."""
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
        """Return the body of a commit; None if a base holds it."""
        return None if item.kind == "tombstone" else self.log.body(entry(number), item)

    # Reading on.

    def has_newer(self) -> bool:
        """Whether the log has a commit that this copy lacks."""
        return self.log.get(entry(self.position.n + 1)) is not None

    def pull(self) -> bool:
        """Apply all new commits. Returns whether there were any."""
        before = self.position
        while not self._take(self.log.entries(self.position.n + 1)):
            pass
        return self.position != before

    def _take(self, commits: Iterable[tuple[int, Item]]) -> bool:
        """Apply the next commits, up to one that a base holds. Returns whether there was none."""
        for number, item in commits:
            body = self._body(number, item)
            if body is None:
                if item.kind == "tombstone":
                    self._load(item)
                return False  # else it has become a tombstone meanwhile
            self._apply(unpack_pages(body, PAGE_BYTES, self._page))
            self._arrive(number, item)
        return True

    def _load(self, named: Item) -> None:
        """Jump to the newest base."""
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
        """Let SQLite commit, and hide the commit at once. Returns None if it changed nothing."""
        before = self._wal.header()
        commit()
        after = self._wal.header()
        if after == before:
            return None
        self._show(self._wal.hidden(before, after))
        return Hidden(self._wal.written(before, after), after)

    def put(self, hidden: Hidden) -> bool:
        """Put a hidden commit as the next one in the log. If it is the first with its number, show
        it. Returns whether it was."""
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
        except LockTimeoutError:  # what is decided must be seen: a reader of half a header repeats
            self._wal.show(header)

    def _page(self, number: int) -> bytes:
        """Return a page as all clients at this position have it. Before the first commit, it is as
        SQLite created it here."""
        return self._wal.page(number) if self.position.n else bytes(PAGE_BYTES)

    def changes_schema(self, hidden: Hidden) -> bool:
        """Whether a commit that lost created other tables. SQLite recognises this by a number in
        page 1, which the winning commit may have raised to the same value."""
        page = hidden.pages.pages.get(1)
        return page is not None and page[_COOKIE] != self._wal.page(1)[_COOKIE]

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        """Hold SQLite's write lock: readers that find half a header wait for it.

        Raises LockTimeoutError if somebody else has it for longer than such a reader, who only
        looks whether it is free: another program that has opened the file.
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
            self._keeper.execute("COMMIT")  # of nothing

    # The file.

    def checkpoint(self) -> bool:
        """Write the log of the copy back as far as readers allow. Returns whether it is then
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
