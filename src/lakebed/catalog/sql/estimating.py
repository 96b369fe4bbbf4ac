"""Estimates the totals of a large catalog from a bounded number of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lakebed.catalog.protocol import CatalogStats
from lakebed.catalog.statements.executor import Params, Row

Fetch = Callable[[str, Params], Sequence[Row]]

COUNTED = 5000
"""The number of objects, entries and old versions up to which they are counted, not estimated."""
_SAMPLE = 500  # objects in the sample
_REACH = 2000  # the number of objects is told from the 2,000th hash; mostly 2 % off
_PAGES = 500  # pages of a Postgres table to count, if the server has no statistics


class _Sample(NamedTuple):
    """Sums over the objects in the sample.

    `references`: the number of entries that refer to them. `named`: the bytes of these entries.
    `used`: the bytes of the objects that any entry refers to.
    """

    objects: int
    bytes: int
    inline: int
    inline_bytes: int
    references: int
    named: int
    used: int


def estimate(fetch: Fetch, queries: Mapping[str, str], now: int | None) -> CatalogStats | None:
    """Return the totals, some of them estimated, or None if there are few enough rows to count.

    A content's hash says nothing about the content. So the contents with the smallest hashes, which
    an index gives, are a fair sample. The value of the nth smallest hash tells how many objects
    there are.
    """
    cap = COUNTED + 1
    ((objects, entries, history),) = fetch(queries["count_some"], {"cap": cap})
    if max(objects, entries, history) < cap:
        return None
    ((expired, packs, snapshots),) = fetch(queries["count_others"], {"cap": cap, "now": now})
    rough = {"entry_bytes", "object_bytes", "inline_objects", "inline_bytes"}
    if objects >= cap:
        objects = _by_hashes(fetch, queries)
        rough.add("objects")
    sample = _look(fetch, queries, now)
    each = objects / max(1, sample.objects)
    if entries >= cap or history >= cap:
        named = round(each * sample.references)
        all_entries, all_history, exact = _count_rows(fetch, queries, named)
        if not exact:
            rough |= {"entries"} if entries >= cap else set()
            rough |= {"history"} if history >= cap else set()
        entries = max(entries, all_entries) if entries >= cap else entries
        history = max(history, all_history) if history >= cap else history
    if expired >= cap:
        rough |= {"expired", "entries"}
    visible = max(0, entries - expired)
    entry_bytes = visible * sample.named / max(1, sample.references)
    return CatalogStats(
        entries=visible,
        expired=expired,
        entry_bytes=round(entry_bytes),
        objects=objects,
        object_bytes=round(each * sample.bytes),
        inline_objects=round(each * sample.inline),
        inline_bytes=round(each * sample.inline_bytes),
        packs=packs,
        snapshots=snapshots,
        history=history,
        used_bytes=round(entry_bytes * sample.used / max(1, sample.named)),
        estimated=tuple(name for name in CatalogStats._fields if name in rough),
    )


def _by_hashes(fetch: Fetch, queries: Mapping[str, str]) -> int:
    ((smallest,),) = fetch(queries["hash_at"], {"place": _REACH})
    return _REACH * (1 << 8 * len(smallest)) // max(1, int.from_bytes(smallest, "big"))


def _look(fetch: Fetch, queries: Mapping[str, str], now: int | None) -> _Sample:
    rows = fetch(queries["sample_objects"], {"page": _SAMPLE, "now": now})
    return _Sample(
        objects=len(rows),
        bytes=sum(size for size, _, _ in rows),
        inline=sum(inline for _, inline, _ in rows),
        inline_bytes=sum(size for size, inline, _ in rows if inline),
        references=sum(many for _, _, many in rows),
        named=sum(size * many for size, _, many in rows),
        used=sum(size for size, _, many in rows if many),
    )


def _count_rows(fetch: Fetch, queries: Mapping[str, str], references: int) -> tuple[int, int, bool]:
    """Return the numbers of entries and of old versions, and whether they are exact."""
    if "count_rows" in queries:
        ((entries, history),) = fetch(queries["count_rows"], {})
        return entries, history, True
    if "table_sizes" not in queries:
        ((entries, history),) = fetch(queries["estimate_rows"], {})
        # These statistics may be some seconds old, and may lack a bulk load.
        return max(int(entries or 0), references), int(history or 0), False
    sizes = fetch(queries["table_sizes"], {})
    if all(density or not pages for pages, density in sizes):
        entries, history = (round(pages * (density or 0)) for pages, density in sizes)
        return entries, history, False
    shares = [min(100.0, 100 * _PAGES / max(1, pages)) for pages, _ in sizes]
    params = dict(zip(("of_entries", "of_history"), shares, strict=True))
    ((entries, history),) = fetch(queries["estimate_rows"], params)
    return round(entries * 100 / shares[0]), round(history * 100 / shares[1]), False
