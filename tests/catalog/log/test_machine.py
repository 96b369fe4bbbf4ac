"""Any sequence of calls does to a lake over a log what it does to a dictionary; forks are lakes of
their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

import lakebed
from lakebed.catalog.log import bases
from lakebed.catalog.log.opening import open_log
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, LakeMachine, open_lake
from lakebed.testing.log_faults import MemoryLogStore
from tests.catalog.log.blocks import small_blocks
from tests.catalog.log.places import Place
from tests.catalog.log.test_faults import check_log

EXAMPLES = {
    "memory": (4, 300), "redis": (2, 100), "s3": (1, 100), "dynamodb": (1, 50), "mongodb": (1, 50),
    "firestore": (1, 25), "d1": (1, 25),
}  # fmt: skip
"""How many on each kind of place, and in soak."""


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_blocks():
        yield


def run_machine(
    opened: Callable[[Path, CatalogOptions], OpenedCatalog], cache: Path, examples: int
) -> None:
    """Try lakes whose catalogs are what `opened` gives for a folder."""

    class OnLog(LakeMachine):
        """Bases come after a few commits."""

        def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
            catalog = opened(folder, CatalogOptions(clock=clock, cache=str(cache)))
            return open_lake(folder, clock=clock, catalog=catalog, inline_threshold=8)

    with patch.object(bases, "_LEAST_BYTES", 40_000), patch.object(bases, "_PAUSE", 0.0):
        run_state_machine_as_test(OnLog, settings=settings(max_examples=examples))


def test_machine(tmp_path: Path, soak: bool) -> None:
    stores: dict[Path, MemoryLogStore] = {}

    def opened(folder: Path, options: CatalogOptions) -> OpenedCatalog:
        store = stores.setdefault(folder, MemoryLogStore(item_bytes=8192))  # so with parts
        return open_log(lambda: store, f"test://{folder}", {}, options)

    run_machine(opened, tmp_path, EXAMPLES["memory"][soak])
    for store in stores.values():
        check_log(store)


@pytest.mark.sampled("kind", 3)
@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind != "memory"])
def test_machine_on_a_service(
    new_place: Callable[[str], Place], tmp_path: Path, kind: str, soak: bool
) -> None:
    places: dict[Path, Place] = {}

    def opened(folder: Path, options: CatalogOptions) -> OpenedCatalog:
        place = places.get(folder) or places.setdefault(folder, new_place(kind))
        return open_catalog(place, options)

    run_machine(opened, tmp_path, EXAMPLES[kind][soak])
    assert places


def test_a_forked_child_goes_on(tmp_path: Path) -> None:
    place: dict[str, Any] = {
        "catalog": {"type": "bucket"},
        "storage": str(tmp_path / "lake"),
        "cache": tmp_path / "cache",
    }
    with lakebed.open(**place) as lake:
        lake.store("k", "parent")
        child = os.fork()
        if not child:
            code = 1
            try:
                lake.store("child", lake.retrieve("k"))
                lake.close()
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert status == 0
        assert lake.retrieve("child") == "parent"
        lake.store("k", "again")
        assert not lake.verify().problems
    with lakebed.open(**place) as lake:
        assert dict(lake) == {"k": "again", "child": "parent"}
