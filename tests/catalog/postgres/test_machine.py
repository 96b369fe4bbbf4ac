"""The state machines on Postgres."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, LakeMachine, open_lake
from lakebed.testing.machine.history import HistoryMachine
from lakebed.testing.machine.search import SearchMachine
from tests.servers import PostgresServer

SOAK = os.environ.get("LAKEBED_SOAK") == "1"
URLS: list[str] = []


@pytest.fixture(autouse=True, scope="module")
def _server(postgres_18: PostgresServer) -> Iterator[None]:
    URLS.append(postgres_18.url(postgres_18.create_database()))
    yield
    URLS.clear()


def catalog(folder: Path, clock: FakeClock) -> OpenedCatalog:
    name = "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    given = {"type": "postgres", "url": URLS[0], "schema": name, "max_size": 2}
    return open_catalog(given, CatalogOptions("normal", 60.0, clock))


class Entries(LakeMachine):
    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, catalog=catalog(folder, clock), inline_threshold=8)


class AllHistory(HistoryMachine):
    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, catalog=catalog(folder, clock), history="all")


class Texts(SearchMachine):
    def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
        return open_lake(folder, clock=clock, catalog=catalog(folder, clock), inline_threshold=30)


TestEntries = Entries.TestCase
TestAllHistory = AllHistory.TestCase
TestTexts = Texts.TestCase

# A step takes some milliseconds here; `make soak` takes many.
for case in (TestEntries, TestAllHistory, TestTexts):
    case.settings = settings(max_examples=300 if SOAK else 5, stateful_step_count=25)
del case
