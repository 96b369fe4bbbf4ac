"""Which parts of a table are joined to one.

A read opens each part, so there must not be many. An append that finds seven small parts at the end
of a table writes one part of them and of its own rows, in place of an eighth; likewise seven of
these make a larger one, and so on. So a row is written once more for each eightfold growth of its
table, and 1,000 appends leave 13 parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lakebed.values.parts import Part, Partition

FAN = 8
"""So many parts of one level become one of the next."""

LARGE = 32 << 20
"""The most bytes that are joined. A part of so many is large enough."""


def to_join(parts: Sequence[Part], byte_size: int) -> tuple[int, int]:
    """Return how many of the last parts an append of `byte_size` joins with its rows, and the level
    of what it writes. `parts`: those of one partition."""
    count = level = 0
    while True:
        rest = parts[: len(parts) - count]
        some = rest[-(FAN - 1) :]
        byte_size += sum(part.byte_size for part in some)
        if len(some) < FAN - 1 or any(p.level != level for p in some) or byte_size > LARGE:
            return count, level
        count, level = count + len(some), level + 1


def groups(parts: Iterable[Part]) -> Iterator[list[Part]]:
    """Divide the parts of a table into those that a compaction joins to one."""
    for some in by_partition(parts).values():
        group: list[Part] = []
        size = 0
        for part in some:
            if group and size + part.byte_size > LARGE:
                yield group
                group, size = [], 0
            group.append(part)
            size += part.byte_size
        yield group


def by_partition(parts: Iterable[Part]) -> dict[Partition, list[Part]]:
    """Return the parts of each partition, in order. A table without partitions counts as one."""
    found = dict[Partition, list[Part]]()
    for part in parts:
        found.setdefault(part.partition, []).append(part)
    return found


def without_last(parts: Sequence[Part], counts: Mapping[Partition, int]) -> list[Part]:
    """Return the parts without the last few of some partitions."""
    left, kept = dict(counts), list[Part]()
    for part in reversed(parts):
        if left.get(part.partition):
            left[part.partition] -= 1
        else:
            kept.append(part)
    return kept[::-1]
