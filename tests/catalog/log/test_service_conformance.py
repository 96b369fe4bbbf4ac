"""The conformance suite of catalogs, over logs in services without SQL: a part of it on each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, FakeClock, open_lake
from tests.catalog.log.places import Place


class OnService(CatalogConformance):
    """A lake whose log is in the service `kind`."""

    kind: ClassVar[str]
    spec: Place

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        options = CatalogOptions(
            lock_timeout=settings.get("lock_timeout", 60.0), clock=clock, cache=str(folder / "c")
        )
        catalog = open_catalog(self.spec, options)
        return open_lake(folder / "lake", catalog=catalog, **settings)

    @pytest.fixture(autouse=True)
    def _place(self, new_place: Callable[[str], Place]) -> None:
        self.spec = new_place(self.kind)


class TestDynamoDBLog(OnService):
    kind = "dynamodb"


class TestFirestoreLog(OnService):
    kind = "firestore"


class TestMongoDBLog(OnService):
    kind = "mongodb"


class TestD1Log(OnService):
    kind = "d1"


del OnService  # it is no suite of its own
