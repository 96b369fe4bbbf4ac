"""Many processes on one log: nothing is lost, and nobody sees two truths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import lakebed
from tests.catalog.log.places import Place
from tests.lake.processes import run_together

PROCESSES = 8
WORK = """
from lakebed.errors import ConflictError
for turn in range(TURNS):
    while True:
        entry = lake.entry("counter")
        try:
            lake.store("counter", entry.value + 1, if_match=entry.content_hash)
            break
        except ConflictError:
            pass
    lake.store(f"own/{number}/{turn}", {"turn": turn, "text": "x" * 97 * turn})
    assert lake.retrieve(f"own/{number}/{turn}")["turn"] == turn
    if turn % 3 == 0:
        lake.create_snapshot(f"s-{number}-{turn}")
lake.close()
"""


def count_together(catalog: Place, folder: Path, *, turns: int) -> None:
    """Let processes increment a number, store, and make snapshots, each so many times."""
    cache = folder / "cache"
    # A commit may lose to seven others for long on a machine that has other work.
    options = f"catalog={catalog!r}, cache={str(cache)!r}, lock_timeout=300"
    opening = f"import lakebed\nlake = lakebed.open({options})"
    with lakebed.open(catalog=catalog, cache=cache) as lake:
        lake.store("counter", 0)
    run_together(WORK.replace("TURNS", str(turns)), folder, PROCESSES, opening)
    # One goes on from a copy that somebody has left, the other begins anew.
    for which in (cache, folder / "other"):
        with lakebed.open(catalog=catalog, cache=which) as lake:
            assert lake.retrieve("counter") == PROCESSES * turns
            assert len(lake) == PROCESSES * turns + 1
            assert len(lake.snapshots()) == PROCESSES * -(-turns // 3)
            assert not lake.verify().problems


TURNS = {
    "folder": (6, 60), "redis": (4, 60), "s3": (2, 30), "dynamodb": (4, 30), "mongodb": (4, 30),
    "firestore": (1, 10), "d1": (1, 10),
}  # fmt: skip
"""How many on each kind of place, and in soak."""


@pytest.mark.sampled("kind", 3)
@pytest.mark.parametrize("kind", TURNS)
def test_eight_processes_count_together(
    new_place: Callable[[str], Place], tmp_path: Path, kind: str, soak: bool
) -> None:
    count_together(new_place(kind), tmp_path, turns=TURNS[kind][soak])
