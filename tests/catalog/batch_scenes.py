"""Batches, and what is there before: each way of storing them must leave the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lakebed.lake.lake import Lake


def entries(count: int, first: int = 0, **more: Any) -> list[dict[str, Any]]:
    return [
        {"key": f"k{n:05}", "value": {"n": n}, "metadata": {"n": n}, **more}
        for n in range(first, first + count)
    ]


def state(lake: Lake) -> list[Any]:
    return [(e.key, e.value, e.metadata, e.expires_at is None) for e in lake.list()]


SCENES: dict[str, tuple[Sequence[dict[str, Any]], ...]] = {
    "new": (entries(100),),
    "contents that the batch has twice": (
        [{"key": f"{n}", "value": n % 7, "ttl": 60} for n in range(50)],
    ),
    "contents that are there": (entries(40), [e | {"key": "x" + e["key"]} for e in entries(60)]),
    "one content that is there, unseen by the sample": (
        [{"key": "a", "value": {"n": 33}}],
        entries(100),
    ),
    "one key that is there, unseen by the sample": ([{"key": "k00033", "value": 0}], entries(100)),
    "all as they are": (entries(100), entries(100)),
    "some changed": (entries(100), entries(100, 50, metadata={"other": [1]})),
    "keys twice": ([*entries(30), *entries(30, 10, metadata={})],),
}
