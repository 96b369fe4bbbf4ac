"""Listing with a metadata filter: few rows are read when few match."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lakebed
from tests.benchmarks.documents import document
from tests.benchmarks.runner import OURS, Contest, Room, Round, benchmark

UNFILTERED = "unfiltered listing"


@benchmark
def filters(room: Room) -> Iterator[Contest]:
    """Ten matches, and a tenth of all, each beside the listing of everything."""
    count = room.count(100_000)
    rare, common = {"topic": "rare"}, {"topic": "common"}
    with lakebed.open(room.folder / "lake") as lake:
        lake.store_batch(
            {"key": f"memory/{n:08}", "value": document(n), "metadata": _metadata(n, count)}
            for n in range(count)
        )
        found = len(list(lake.list(metadata_filter=rare)))  # brings the index up to date
        for title, metadata_filter, limit in (
            (f"listing with a filter that {found} of {count:,} match", rare, None),
            ("listing with a filter that nearly all match, limit 10", common, 10),
        ):
            yield Contest(
                title,
                {
                    OURS: _listing(lake, metadata_filter, limit),
                    UNFILTERED: _listing(lake, None, limit),
                },
                unit="ms",
                rounds=7,
                note=f"{_rows_read(lake, metadata_filter, limit):,} rows read",
            )


def _metadata(number: int, count: int) -> dict[str, Any]:
    rare = number % (count // 10) == 7
    return {"topic": "rare" if rare else "common", "rank": number, "source": "chat"}


def _listing(
    lake: lakebed.Lake, metadata_filter: dict[str, Any] | None, limit: int | None
) -> Round:
    def play(_: int) -> None:
        for _entry in lake.list(metadata_filter=metadata_filter, limit=limit):
            pass

    return play


def _rows_read(lake: lakebed.Lake, metadata_filter: dict[str, Any], limit: int | None) -> int:
    """How many entries the catalog gave to the evaluator."""
    catalog, read = lake._catalog, 0
    page = catalog.page

    def counted(*arguments: Any) -> Any:
        nonlocal read
        rows, more = page(*arguments)
        read += len(rows)
        return rows, more

    catalog.page = counted  # type: ignore[method-assign]
    try:
        _listing(lake, metadata_filter, limit)(0)
    finally:
        catalog.page = page  # type: ignore[method-assign]
    return read
