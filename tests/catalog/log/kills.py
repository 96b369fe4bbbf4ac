"""Processes that write to one log and are killed, each at some call of its store."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import fsspec

from lakebed.catalog.log import bases, bundles
from lakebed.catalog.log import log as logs
from lakebed.catalog.log.opening import open_log
from lakebed.catalog.log.store import LogStore
from lakebed.catalog.opened import CatalogOptions
from lakebed.lake.lake import Lake
from lakebed.testing import open_lake
from tests.catalog.log.blocks import SIZE
from tests.catalog.log.places import Place, connect

GROUP = 4
TURNS = 40  # after which a process dies in any case
POINTS = (
    ("put_new", "log"), ("put_new", "bundle"), ("put_new", "part"), ("put_new", "base"),
    ("put", "base"), ("put", "log"), ("put", "bundle"), ("delete", "part"), ("get", "log"),
    ("get", "bundle"),
)  # fmt: skip
"""Calls at which processes die: commits, bundles, parts, bases, hints, tombstones, garbage, reading
on."""


class Death(NamedTuple):
    """At which call of which kind a process dies, and how many seconds after the call has begun. If
    that is 0, the call does nothing. A call that ends earlier is the last one."""

    method: str
    what: str
    count: int
    seconds: float


class DyingStore:
    """A store whose process is killed before, during or after a call."""

    item_bytes = 1 << 15  # so that some commits, and the bases, come in parts

    def __init__(self, inner: LogStore, death: Death, notes: Path) -> None:
        self._inner = inner
        self._death = death
        self._left = death.count
        self._counting = threading.Lock()
        self._dying = threading.Lock()
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        def dying(*arguments: Any) -> Any:
            death = self._death
            place = (name, str(arguments[0]).partition("/")[0]) if arguments else (name, "")
            with self._counting:
                self._left -= place == (death.method, death.what)
                is_it = place == (death.method, death.what) and not self._left
            if is_it and not death.seconds:
                self._die("before")
            if is_it:
                threading.Thread(target=self._die_soon, daemon=True).start()
            result = call(*arguments)
            if is_it:
                self._die("after")
            return result

        return dying

    def _die_soon(self) -> None:
        time.sleep(self._death.seconds)
        self._die("during")

    def _die(self, when: str) -> None:
        with self._dying:  # once
            note(self._notes, "died", when, *self._death[:2])
            os.kill(os.getpid(), signal.SIGKILL)


def note(path: Path, *words: object) -> None:
    """Append a line, whole."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, json.dumps(words).encode() + b"\n")
    os.close(handle)


def opened(
    folder: Path, death: Death | None = None, cache: str = "cache", place: Place | None = None
) -> Lake:
    """The lake whose log is at `place`, or else in `folder`. Its process dies if a `death` is
    given."""
    where = place or {"type": "bucket", "uri": str(folder / "log")}

    def connected() -> LogStore:
        store = connect(where)
        return DyingStore(store, death, folder / "notes") if death else store  # type: ignore[return-value]

    options = CatalogOptions(cache=str(folder / cache))
    return open_lake(catalog=open_log(connected, f"test://{folder}", {}, options))


def write(folder: Path, place: Place, number: int) -> None:
    """What a process does until it is killed."""
    notes, chosen = folder / "notes", random.Random(number)
    bases._LEAST_BYTES, bases._SHARE, bases._PAUSE = 20_000, 0.1, 0.0
    bases._LEASE = 0  # who announced a base may be dead by now
    bundles.SIZE, logs._AHEAD, logs._BLOCKS = SIZE, 1, 2
    seconds = chosen.choice((0.0, 10 ** chosen.uniform(-5, -2), 1.0))
    death = Death(*POINTS[number % len(POINTS)], chosen.randint(1, 5), seconds)
    lake = opened(folder, death, place=place)
    for turn in range(TURNS):
        value = [number, turn]
        kind = chosen.choice(("one", "one", "group", "large", "count", "snapshot"))
        note(notes, "maybe", number, kind, value)
        if kind == "one":
            lake.store(f"one/{number}", value)
        elif kind == "group":
            lake.store_batch({"key": f"group/{n}", "value": value} for n in range(GROUP))
        elif kind == "large":
            lake.store("large", [*value, chosen.randbytes(60_000).hex()])
        elif kind == "count":
            entry = lake.entry("count")
            lake.store("count", entry.value + 1, if_match=entry.content_hash)
        else:
            lake.create_snapshot(f"s-{number}-{turn}")
        note(notes, "surely", number, kind, value)
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, place: Place, first: int, last: int) -> None:
    """Fork processes, one after another, each of which dies."""
    protocol, is_uri, _ = str(place.get("uri")).partition("://")
    if is_uri:
        fsspec.get_filesystem_class(protocol)  # loaded once for all
    for number in range(first, last):
        child = os.fork()
        if not child:
            try:
                write(folder, place, number)
            finally:
                os._exit(3)  # with an error; else it has been killed
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), status
        assert os.WTERMSIG(status) == signal.SIGKILL, status


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
