"""What `lakebed doctor` checks in the place that keeps a log."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from lakebed.catalog.log.items import part
from lakebed.catalog.log.log import Log
from lakebed.catalog.log.store import LogStore
from lakebed.errors import LakebedError
from lakebed.objects.examination import Look

_PROBE = b"probe"


@runtime_checkable
class Clocked(Protocol):
    """A store whose service has a clock."""

    def now(self) -> float | None:
        """Return the service's time in seconds since 1970, or None if the log does not exist
        yet."""
        ...


def examine(log: Log, shown: str) -> Iterator[Look]:
    """Check the latency, the clock, the rights and the length of a log. `shown`: its name.

    Writes, reads and deletes one item of 5 bytes, unless the log does not exist yet. Raises the
    store's error if it cannot be read at all.
    """
    store = log.store
    log.newest()  # connects to the service
    begin = time.perf_counter()
    newest = log.newest()
    yield Look("catalog", "ok", f"{shown} answers in {_ms(begin):.1f} ms")
    if isinstance(store, Clocked):
        ticks, start = time.perf_counter(), time.time()
        told = store.now()
        took = time.perf_counter() - ticks
        if told is None:
            yield Look("rights", "note", f"{shown} does not exist yet: the first store makes it")
            return
        away = told - (start + took / 2)
        if abs(away) > 2 + took:  # some services round to whole seconds
            yield Look("clock", "note", f"its clock is {away:+.1f} seconds from this machine's")
    yield from _rights(store)
    base = 0 if newest is None else newest.n
    commits = [item for _, item in log.entries(base + 1) if item.kind != "tombstone"]
    yield Look(
        "log",
        "ok",
        f"{base + len(commits):,} commits, {len(commits):,} of them "
        f"({sum(item.byte_size for item in commits):,} bytes) after the newest base",
    )


def _rights(store: LogStore) -> Iterator[Look]:
    name = part(f"doctor{secrets.token_hex(8)}", 0)

    def put_new() -> bool:
        return store.put_new(name, _PROBE) and not store.put_new(name, b"another")

    def get() -> bool:
        return store.get(name) == _PROBE

    def put() -> bool:
        store.put(name, b"another")
        return store.get(name) == b"another"

    def delete() -> bool:
        store.delete(name)
        return store.get(name) is None

    calls = {"put if absent": put_new, "get": get, "replace": put, "delete": delete}
    for right, call in calls.items():
        begin = time.perf_counter()
        try:
            holds = call()
        except LakebedError as error:
            yield Look(right, "wrong", str(error))
            return
        if not holds:
            yield Look(right, "wrong", "the answer is not what a log needs")
            return
        yield Look(right, "ok", f"{_ms(begin):.1f} ms")


def _ms(begin: float) -> float:
    return (time.perf_counter() - begin) * 1000
