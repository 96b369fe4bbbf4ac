"""A process that appends to one table: rows that tell its name and their number.

`append` writes each number to the standard output once the lake has acknowledged it.
"""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa

import lakebed

KEY = "log"


def append(opened: dict[str, Any], by: str | None, name: str, first: int, last: int) -> None:
    """Append the numbers from `first` to `last`.

    `opened`: the arguments of `lakebed.open`. `by`: the column to partition by.
    """
    with lakebed.open(**opened, lock_timeout=120) as lake:
        os.write(1, b"ready\n")
        for number in range(first, last + 1):
            rows = pa.table({"who": [name, name], "number": [number, number]})
            lake.append(KEY, rows, partition_by=by)
            os.write(1, f"{number}\n".encode())
