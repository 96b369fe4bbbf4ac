"""A process that writes until it is killed, and says what was acknowledged to it.

`write` tells the number of each operation on its standard output once the lake has acknowledged it.
`operations` tells the checker what each one does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import lakebed

Change = tuple[str, str | None]
KEYS = 12
LARGE = 20_000


def operations(prefix: str, seed: int) -> Iterator[tuple[str, list[Change]]]:
    """What the writer does, in order: a kind of call, and the new value of each key, None to
    delete it."""
    rng = random.Random(seed)

    def value(number: int) -> str:
        kind = rng.randrange(4)
        if kind == 0:
            return f"{prefix} {seed} {number} " + "x" * LARGE
        if kind == 1:  # content that writers share
            return f"shared {rng.randrange(6)} " + "y" * LARGE
        return f"{prefix} {seed} {number}"

    number = 0
    while True:
        number += 1
        kind = rng.choice(["store", "store", "store", "delete", "transaction", "batch"])
        keys = [f"{prefix}/{n}" for n in rng.sample(range(KEYS), 4)]
        if kind == "store":
            yield kind, [(keys[0], value(number))]
        elif kind == "delete":
            yield kind, [(keys[0], None)]
        elif kind == "batch":
            yield kind, [(key, value(number)) for key in keys]
        else:
            yield kind, [(keys[0], value(number)), (keys[1], value(number)), (keys[2], None)]


def write(folder: Path, prefix: str, seed: int) -> None:
    """Do all operations on the lake in a folder, one after the other."""
    with lakebed.open(folder, lock_timeout=120) as lake:
        os.write(1, b"0\n")
        for number, (kind, changes) in enumerate(operations(prefix, seed), 1):
            if kind == "batch":
                lake.store_batch([{"key": key, "value": value} for key, value in changes])
            elif kind == "transaction":
                with lake.transaction() as tx:
                    for key, value in changes:
                        if value is None:
                            tx.delete(key)
                        else:
                            tx.store(key, value)
            else:
                ((key, value),) = changes
                if value is None:
                    lake.delete(key)
                else:
                    lake.store(key, value)
            os.write(1, f"{number}\n".encode())
