"""Estimates what a large catalog holds, from a bounded number of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lakebed.catalog.protocol import CatalogStats
from lakebed.catalog.statements.executor import Params, Row

Fetch = Callable[[str, Params], Sequence[Row]]

COUNTED = 5000
"""So many objects, entries and versions of the history are counted, more are estimated."""
_SAMPLE = 500  # objects that are looked at
_REACH = 2000  # the place of the hash that tells how many objects there are: 2 % off, mostly
_PAGES = 500  # of a table of Postgres that are counted, if the server knows nothing of it


class _Sample(NamedTuple):
    """Sums over the objects that were looked at. `named`: the bytes of the entries that refer to
    them, of which there are `references`. `used`: the bytes of the objects that have any."""

    objects: int
    bytes: int
    inline: int
    inline_bytes: int
    references: int
    named: int
    used: int


def estimate(fetch: Fetch, queries: Mapping[str, str], now: int | None) -> CatalogStats | None:
    """Return the totals, some of them estimated, or None if there are so few rows that they can be
    counted.

    A content's hash says nothing about the content. So the contents with the smallest hashes, which
    an index gives, are a fair sample of all, and how small the nth smallest hash is tells how many
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
    """Return the number of entries and of versions in the history, and whether it is exact."""
    if "count_rows" in queries:
        ((entries, history),) = fetch(queries["count_rows"], {})
        return entries, history, True
    if "table_sizes" not in queries:
        ((entries, history),) = fetch(queries["estimate_rows"], {})
        # These statistics may lie some seconds and a bulk load behind.
        return max(int(entries or 0), references), int(history or 0), False
    sizes = fetch(queries["table_sizes"], {})
    if all(density or not pages for pages, density in sizes):
        entries, history = (round(pages * (density or 0)) for pages, density in sizes)
        return entries, history, False
    shares = [min(100.0, 100 * _PAGES / max(1, pages)) for pages, _ in sizes]
    params = dict(zip(("of_entries", "of_history"), shares, strict=True))
    ((entries, history),) = fetch(queries["estimate_rows"], params)
    return round(entries * 100 / shares[0]), round(history * 100 / shares[1]), False
