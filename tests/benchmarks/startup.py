"""A fresh process: import, open, one store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

_BARE = "import sqlite3, json, hashlib"
_STORE = "import sys, lakebed; lakebed.open(sys.argv[1]).store('a', {'b': 1})"


@benchmark
def startup(room: Room) -> Iterator[Contest]:
    """Wall time of `python -c …`, with bytecode cached: a new lake each time, and one lake."""
    cache, existing = room.folder / "bytecode", room.folder / "existing"
    bare = _process(_BARE, cache)
    new = _process(_STORE, cache, room.folder)
    again = _process(_STORE, cache, existing, fresh=False)
    again(0)
    for title, ours in (
        ("import, open a new lake, store", new),
        ("import, open a lake that is there, store", again),
    ):
        yield Contest(
            title,
            {OURS: ours, _BARE: bare},
            {_BARE: 1 / 2.5},
            unit="ms",
            rounds=room.count(31, least=3),
        )


def _process(code: str, cache: Path, folder: Path | None = None, *, fresh: bool = True) -> Round:
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def play(number: int) -> float:
        arguments = [sys.executable, "-c", code]
        if folder is not None:
            arguments.append(os.fspath(folder / f"lake-{number}" if fresh else folder))
        begin = time.perf_counter()
        subprocess.run(arguments, check=True, env=environment)
        return time.perf_counter() - begin

    return play
