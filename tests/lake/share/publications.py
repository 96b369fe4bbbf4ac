"""The lake that the tests of publications publish."""

from __future__ import annotations

import pyarrow as pa

from lakebed.lake.lake import Lake

WORDS = ["apple", "pear", "café", "東京都", "what", "anna", "Apples", "x"]


TABLE = pa.table({"n": [1, 2, 3]})


def fill(lake: Lake, count: int = 300) -> None:
    """Conversations, values of all formats, some in the index and some not."""
    for start in range(0, count, 100):
        lake.store_batch(
            {
                "key": f"talk/{n % 7}/{n:04}",
                "value": {
                    "speaker": ("Anna", "Bert")[n % 2],
                    "text": " ".join(WORDS[: n % 9]) + f" apple number{n} " + "pad " * (n % 13),
                },
                "metadata": {"n": n % 4, "s": WORDS[n % 5]} if n % 3 else {},
            }
            for n in range(start, start + 100)
        )
        if start < 200:
            lake._searcher().build_waiting()
    lake.store("bytes", b"\0apple", {"s": "apple"})
    lake.store("table", TABLE, {"s": "apple", "n": 2})
    lake.store("talk/0/0007", "replaced by a pear")
    del lake["talk/1/0001"]
