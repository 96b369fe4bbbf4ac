"""Reads a log from its store, puts commits, and finds out whether a put has happened."""

from __future__ import annotations

import random
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from lakebed.catalog.log import bundles
from lakebed.catalog.log.items import (
    HEAD_BYTES,
    NEWEST,
    Item,
    checked,
    entry,
    from_bytes,
    part,
    to_bytes,
    whole,
)
from lakebed.catalog.log.store import LogStore
from lakebed.errors import (
    CatalogError,
    ConnectError,
    CorruptionError,
    LakebedError,
    RateLimitedError,
)
from lakebed.leaving import has_left

T = TypeVar("T")

_PIECE_BYTES = 1 << 20  # of a base; one piece is unpacked while the next ones arrive
_AT_ONCE = 4  # parts that are fetched at once
_READ_PATIENCE = 5.0  # seconds for which a failing read is repeated
_AHEAD, _FAR_AHEAD = 16, 32  # commits that a client asks for at once if it is behind, or far behind
_BLOCKS = 8  # bundles that are asked for at once, each with a commit
_FIRST_WAIT, _LONGEST_WAIT = 0.02, 1.0  # seconds between two tries


class _GoneError(Exception):
    """A part no longer exists, because a base has replaced its item."""


class Log:
    """The log in `store`. Failing writes are repeated for `patience` seconds."""

    def __init__(self, store: LogStore, patience: float) -> None:
        self.store = store
        self._patience = patience
        self._pool: ThreadPoolExecutor | None = None

    # Reading.

    def get(self, name: str) -> Item | None:
        """Return the item with a name, or None. A body that is in parts is not read."""
        data = self._patiently(lambda: self.store.get(name), min(self._patience, _READ_PATIENCE))
        return None if data is None else from_bytes(name, data)

    def entries(self, n: int, *, behind: bool = False) -> Iterator[tuple[int, Item]]:
        """Yield the commits from number `n` to the present end of the log, with their numbers.

        A client that is `behind` asks for many commits at once, and later for bundles as well. So
        does a client that turns out to be behind.
        """
        width = _AHEAD if behind else 1
        blocks, goes_on = range(bundles.block_of(n)), True  # blocks whose bundles are not asked for
        bundled: dict[int, Item] = {}
        while True:
            wanted, asked = range(n, n + width), range(0)
            if width > _AHEAD and (goes_on or bundles.block_of(n) >= blocks.stop):
                start = max(blocks.stop, bundles.block_of(n))
                blocks = asked = range(start, start + _BLOCKS)
                wanted = wanted[:_AHEAD]
            found, more = self._ask([one for one in wanted if one not in bundled], asked)
            bundled.update(more)
            if asked:
                goes_on = found[bundles.numbers(asked[-1])[-1]] is not None
            while (item := found.get(n) or bundled.get(n)) is not None:
                yield n, item
                bundled.pop(n, None)
                n += 1
            if n in found:
                return
            width = min(_FAR_AHEAD, 2 * width)

    def ahead(self, n: int) -> Future[list[tuple[int, Item]]]:
        """Start to read the commits from number `n` on in another thread."""
        return self._threads().submit(lambda: list(self.entries(n, behind=True)))

    def _ask(
        self, numbers: Sequence[int], blocks: range
    ) -> tuple[dict[int, Item | None], dict[int, Item]]:
        """Return the commits with these numbers, and the commits in the bundles of these blocks.

        The last commit of each block is asked for as well. A bundle is used only if it ends with
        this very commit.
        """
        if len(numbers) == 1 and not blocks:
            return {numbers[0]: self.get(entry(numbers[0]))}, {}
        wanted = dict.fromkeys([*numbers, *(bundles.numbers(block)[-1] for block in blocks)])
        held = self._threads().map(self._bundle, blocks)
        items = self._threads().map(lambda number: self.get(entry(number)), wanted)
        found, bundled = dict(zip(wanted, items, strict=True)), dict[int, Item]()
        for block, (token, commits) in zip(blocks, held, strict=True):
            last = found[bundles.numbers(block)[-1]]
            if last is not None and (last.kind, last.token) == ("pages", token):
                bundled.update(commits)
        return found, bundled

    def _bundle(self, block: int) -> tuple[str, dict[int, Item]]:
        """Return the token that the bundle of a block ends with, and the commits in it.

        There are none if the bundle cannot be used. Reading the commits themselves will tell why.
        """
        try:
            bundle = self.get(bundles.name(block))
            if bundle is None or bundle.kind == "tombstone":
                return "", {}
            return bundle.last, bundles.unpack(block, bundle)
        except LakebedError:
            return "", {}

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # One thread reads ahead. The others fetch commits, and parts of bodies beside them.
            most = 1 + _FAR_AHEAD + _AT_ONCE
            self._pool = ThreadPoolExecutor(most, thread_name_prefix="lakebed-log")
        return self._pool

    def body(self, name: str, item: Item) -> bytes | None:
        """Return the body of an item, or None if a base has replaced the item and its parts are
        gone."""
        try:
            return b"".join(checked(name, item, self._pieces(item)))
        except _GoneError:
            return None

    def _pieces(self, item: Item) -> Iterator[bytes]:
        """Yield the body of an item as it arrives.

        Only a few parts are fetched at once. All parts together would share the connection, and the
        first one would arrive little earlier than the last.
        """
        if not item.parts:
            yield item.body
            return

        def ask(number: int) -> Future[bytes | None]:
            return self._threads().submit(self._part, item.token, number)

        asked = deque(ask(number) for number in range(min(item.parts, _AT_ONCE)))
        for following in range(len(asked), len(asked) + item.parts):
            piece = asked.popleft().result()
            if piece is None:
                raise _GoneError
            if following < item.parts:
                asked.append(ask(following))
            yield piece

    def _part(self, token: str, number: int) -> bytes | None:
        of = part(token, number)
        return self._patiently(lambda: self.store.get(of), _READ_PATIENCE)

    def base(self, item: Item, take: Callable[[Iterable[bytes]], T]) -> tuple[Item, T]:
        """Return the newest base that can be found, and the result of `take` for its body.

        The search starts from an item that names a base. `take` gets the pieces of the body. It is
        called again if they end with an error. Raises CorruptionError if the log no longer has a
        base.
        """
        end = time.monotonic() + min(self._patience, _READ_PATIENCE)
        while (found := self._find_base(item, take)) is None:
            item = item._replace(kind="tombstone")  # asks for the hint again
            if time.monotonic() >= end:
                raise CorruptionError(
                    f"the log is damaged: its base {item.base} is missing, and no newer one is "
                    "named"
                )
            time.sleep(_FIRST_WAIT)  # some stores may answer from an old state
        return found

    def _find_base(self, item: Item, take: Callable[[Iterable[bytes]], T]) -> tuple[Item, T] | None:
        hint = item if item.kind == "newest" else self.get(NEWEST)
        named = hint if hint is not None and hint.n >= item.n else item
        while True:
            head = self.get(named.base)
            if head is not None:
                with suppress(_GoneError):
                    return head, take(checked(named.base, head, self._pieces(head)))
            # A newer base has replaced it, which also holds the next commit.
            following = self.get(entry(named.n + 1))
            if following is None or following.kind != "tombstone":
                return None
            named = following

    def hint(self) -> Item | None:
        """Return the item that names the newest base, or None. It may name an older base."""
        return self.get(NEWEST)

    def newest(self) -> Item | None:
        """Return an item that names the newest base, or nearly the newest, or None without a
        base."""
        hint = self.hint()
        if hint is not None:
            return hint
        first = self.get(entry(1))
        return first if first is not None and first.kind == "tombstone" else None

    # Writing.

    def commit(self, n: int, body: bytes) -> Item | None:
        """Put a commit as number `n`. Return None if another commit has that number.

        If it cannot be found out whether the commit was stored, raises the last try's error, which
        says so.
        """
        item = self._upload(whole("pages", secrets.token_hex(8), body))
        if self._put_first(n, item):
            return item
        with suppress(LakebedError):  # nothing refers to these parts; they only take space
            for number in range(item.parts):
                self.store.delete(part(item.token, number))
        return None

    def _put_first(self, n: int, item: Item) -> bool:
        name, data = entry(n), to_bytes(item)

        def put() -> bool:
            if self.store.put_new(name, data):
                return True
            there = self.store.get(name)
            if there is None:
                raise CatalogError(
                    f"the store says both that {name} exists and that it does not: it answers "
                    "from an old state"
                )
            return from_bytes(name, there).token == item.token

        try:
            return self._patiently(put, self._patience)
        except LakebedError as error:
            # The item may exist, or may still arrive: only another item in its place settles that.
            # This holds after a False as well. A store that repeats calls answers False if its own
            # first try has put the item.
            error.message += "; it is unknown whether this was stored: read it before you try again"
            raise

    def put_base(self, name: str, n: int, last: str, body: bytes) -> None:
        """Put a base under its unique name, and the hint that names it.

        The base holds all commits up to `n`, whose token is `last`.
        """
        base = self._upload(whole("base", name.rpartition("-")[2], body), _PIECE_BYTES)
        data = to_bytes(base._replace(n=n, last=last))
        self._patiently(partial(self.store.put_new, name, data), self._patience)
        hint = to_bytes(Item("newest", base=name, n=n))
        self._patiently(partial(self.store.put, NEWEST, hint), self._patience)

    def put_bundle(self, block: int, known: Mapping[int, Item]) -> None:
        """Put the bundle of a complete block, unless a base has replaced some of its commits.

        `known`: commits that need not be read again.
        """
        numbers = bundles.numbers(block)
        read, _ = self._ask([number for number in numbers if number not in known], range(0))
        commits = {}
        for number in numbers:
            item = known.get(number) or read[number]
            if item is None or item.kind != "pages":
                return
            commits[number] = item
        bundle = bundles.pack(commits, self.store.item_bytes)
        if bundle is not None:
            put = partial(self.store.put_new, bundles.name(block), to_bytes(bundle))
            self._patiently(put, min(self._patience, _READ_PATIENCE))

    def bury(self, commits: Mapping[int, Item | None], base: str, n: int) -> None:
        """Overwrite commits with tombstones. They name the `base` that holds all commits up to `n`.

        `commits`: the commits without their bodies. None stands for a commit that has to be read.
        """
        list(
            self._threads().map(
                partial(self._bury, base=base, n=n), *zip(*commits.items(), strict=True)
            )
        )
        self._sweep(base, n)

    def _sweep(self, base: str, n: int) -> None:
        """Put tombstones in place of all bundles with commits up to `n`.

        A tombstone is put even if a bundle does not exist. It stops a client that is about to put
        it.
        """
        swept = self.get(bundles.SWEPT)
        blocks = range(0 if swept is None else swept.n, bundles.block_of(n) + 1)
        if not blocks:
            return
        stone = to_bytes(Item("tombstone", base=base, n=n))

        def put(name: str, data: bytes) -> None:
            self._patiently(partial(self.store.put, name, data), self._patience)

        list(self._threads().map(lambda block: put(bundles.name(block), stone), blocks))
        put(bundles.SWEPT, to_bytes(Item("swept", n=blocks.stop)))

    def _bury(self, number: int, known: Item | None, *, base: str, n: int) -> None:
        name = entry(number)
        item = known or self.get(name)
        if item is None:
            raise CatalogError(f"{name} is missing from the store: a log must never lose a commit")
        stone = to_bytes(Item("tombstone", item.token, item.parts, base=base, n=n))
        self._patiently(partial(self.store.put, name, stone), self._patience)
        for piece in range(item.parts):
            self._delete(part(item.token, piece))

    def drop_base(self, name: str) -> None:
        """Delete a base, complete or not.

        The last part is deleted first. If this client is killed meanwhile, the next one counts the
        remaining parts from the first one on.
        """
        head = self.get(name)
        if head is None:
            token, parts = name.rpartition("-")[2], 0
            while self._part(token, parts) is not None:
                parts += 1
        else:
            token, parts = head.token, head.parts
        for number in reversed(range(parts)):
            self._delete(part(token, number))
        self._delete(name)

    def _delete(self, name: str) -> None:
        self._patiently(lambda: self.store.delete(name), self._patience)

    def _upload(self, item: Item, most: int = sys.maxsize) -> Item:
        """Return the item to put.

        If it is larger than the store allows, or than `most` bytes, its body is first put in parts.
        """
        size = min(self.store.item_bytes, most)
        if len(item.body) <= size - HEAD_BYTES:
            return item
        pieces = range(0, len(item.body), size)
        for number, start in enumerate(pieces):
            of, data = part(item.token, number), item.body[start : start + size]
            self._patiently(partial(self.store.put_new, of, data), self._patience)
        return item._replace(parts=len(pieces), body=b"")

    def close(self) -> None:
        """Close the store."""
        if self._pool is not None:
            self._pool.shutdown()
        self.store.close()

    def _patiently(self, call: Callable[[], T], seconds: float) -> T:
        """Return the result of a call. Repeat it, for so many seconds, while it fails
        temporarily."""
        end, wait = time.monotonic() + seconds, _FIRST_WAIT
        while True:
            try:
                return call()
            except LakebedError as error:
                rest = end - time.monotonic()
                if rest <= 0 or not _may_pass(error) or has_left():
                    raise
                asked = error.retry_after if isinstance(error, RateLimitedError) else None
                time.sleep(min(rest, asked or wait * random.uniform(0.5, 1)))  # noqa: S311
                wait = min(2 * wait, _LONGEST_WAIT)


def _may_pass(error: LakebedError) -> bool:
    """Return whether the same call may succeed a little later."""
    if isinstance(error, ConnectError):
        return error.error_type != "auth_failed"
    return (
        isinstance(error, (RateLimitedError, CatalogError)) or error.error_type == "storage_error"
    )
