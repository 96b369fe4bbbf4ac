"""The documents that all contenders store."""

from __future__ import annotations

import json
from random import Random
from typing import Any

_WORDS = """
    agent answer archive bucket catalog city cloud coffee config date delay design disk error
    event flight format garden index invoice key lake latency letter limit memory meeting metric
    model morning note object order packet paper partner pattern phrase plan price project query
    reader record region report river sample schema season server session signal snapshot source
    station storage stream summary table ticket token train travel update user value vendor
    version weather
""".split()  # noqa: SIM905


def document(number: int, size: int = 470) -> dict[str, Any]:
    """A distinct document whose compact JSON takes `size` bytes; the same for the same number."""
    random = Random(number)
    value: dict[str, Any] = {
        "id": number,
        "kind": random.choice(("note", "fact", "message", "task")),
        "author": {"name": random.choice(_WORDS), "role": random.choice(("user", "agent"))},
        "score": round(random.random(), 6),
        "tags": random.sample(_WORDS, 3),
        "seen": random.random() < 0.5,
        "text": "",
    }
    room = size - len(json.dumps(value, separators=(",", ":")))
    words = random.choices(_WORDS, k=max(room, 0) // 5 + 1)
    value["text"] = " ".join(words)[: max(room, 0)].ljust(max(room, 0), ".")
    return value


def documents(count: int, size: int = 470, start: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """So many keys with their documents, in an order that is not that of the keys."""
    pairs = [(f"memory/{n % 97:02}/{n:08}", document(n, size)) for n in range(start, start + count)]
    Random(start).shuffle(pairs)
    return pairs
