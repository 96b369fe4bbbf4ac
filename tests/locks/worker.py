"""An owner in another process: `python -m tests.locks.worker KIND NAME TTL OPTIONS RESOURCE HOW`.

`OPTIONS` is JSON. `RESOURCE` is a file in which every line tells of a step, its token and its time.
With HOW `turns`, takes the lock a number of times. With `hold`, takes it once and waits for a line
on its input, upon which it writes to the resource and refreshes the lock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from lakebed.errors import LockLostError
from lakebed.locks import create_lock
from tests.locks.fencing import Resource, StaleTokenError

TURNS = 15


def note(path: Path, *words: object) -> None:
    """Append a line, whole."""
    with path.open("ab", buffering=0) as file:
        file.write(" ".join(map(str, words)).encode() + b"\n")


def main(kind: str, name: str, ttl: str, options: str, resource: str, how: str) -> None:
    lock = create_lock(kind, name, float(ttl), **json.loads(options))
    path = Path(resource)
    if how == "turns":
        for _ in range(TURNS):
            token = lock.acquire(timeout=120)
            note(path, "enter", token, time.monotonic_ns(), os.getpid())
            note(path, "leave", token, time.monotonic_ns(), os.getpid())
            assert lock.release()
        lock.close()
        return
    token = lock.acquire(timeout=60)
    print(token, flush=True)
    sys.stdin.readline()
    try:
        Resource(path).write(token, "late")
        print("written", flush=True)
    except StaleTokenError:
        print("refused", flush=True)
    try:
        lock.refresh()
        print("refreshed", flush=True)
    except LockLostError:
        print("lost", flush=True)
    lock.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
