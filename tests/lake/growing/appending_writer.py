"""A process that appends to one table: rows that tell its name and their number.

Run as a script with the arguments of `lakebed.open` as JSON, a column to partition by or an empty
text, a name, and the numbers of its first and last append: prints each number once the lake has
acknowledged it.
"""

from __future__ import annotations

import json
import os
import sys

KEY = "log"


def main(place: str, by: str, name: str, first: str, last: str) -> None:
    import pyarrow as pa

    import lakebed

    with lakebed.open(**json.loads(place), lock_timeout=120) as lake:
        os.write(1, b"ready\n")
        for number in range(int(first), int(last) + 1):
            rows = pa.table({"who": [name, name], "number": [number, number]})
            lake.append(KEY, rows, partition_by=by or None)
            os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
