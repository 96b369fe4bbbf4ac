"""Small blocks, so that tests have bundles after a few commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from lakebed.catalog.log import bundles
from lakebed.catalog.log import log as logs
from lakebed.catalog.log.items import from_bytes

SIZE = 4


@contextmanager
def small_blocks() -> Iterator[None]:
    """Blocks of four commits, whose bundles are asked for by everybody who is behind."""
    with (
        patch.object(bundles, "SIZE", SIZE),
        patch.object(logs, "_AHEAD", 1),
        patch.object(logs, "_BLOCKS", 2),
    ):
        yield


def check_bundles(history: dict[str, list[bytes]]) -> int:
    """Every bundle of a log has held what its commits were, and only tombstones came after. Returns
    how many there have been."""
    count = 0
    for name, versions in history.items():
        if not name.startswith("bundle/") or name == bundles.SWEPT:
            continue
        first, *later = [from_bytes(name, data) for data in versions]
        if first.kind == "bundle":
            count += 1
            commits = bundles.unpack(int(name.partition("/")[2]), first)
            for n, item in commits.items():
                assert item == from_bytes("", history[f"log/{n}"][0]), f"{name} has another {n}"
        else:
            later.append(first)
        assert {item.kind for item in later} <= {"tombstone"}, name
    return count
