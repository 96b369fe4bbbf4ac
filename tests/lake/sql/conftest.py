"""Lakes on each kind of catalog and storage."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from lakebed.catalog.opened import CatalogOptions, Durability
from lakebed.catalog.registry import open_catalog
from lakebed.clock import Clock
from lakebed.lake.lake import Lake
from lakebed.objects.opening import open_store
from lakebed.testing import open_lake

_DURABILITY: Durability = "normal"

OpenLake = Callable[[Clock], Lake]


@pytest.fixture(
    params=[
        f"{catalog} {storage}"
        for catalog in ("sqlite", "postgres")
        for storage in ("local", "memory", "s3")
    ]
)
def new_lake(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLake:
    """Opens a new lake with a clock; values above 40 bytes go to the storage."""
    catalog, storage = request.param.split()
    numbers = itertools.count()
    server = request.getfixturevalue("s3") if storage == "s3" else None
    url = request.getfixturevalue("postgres_18").url() if catalog == "postgres" else None

    def new(clock: Clock) -> Lake:
        folder = tmp_path / str(next(numbers))
        opened = None
        if url is not None:
            schema = f"sql_{secrets.token_hex(6)}"
            opened = open_catalog(
                {"type": "postgres", "url": url, "schema": schema, "max_size": 2},
                CatalogOptions(_DURABILITY, 60.0, clock),
            )
        objects = None
        if storage == "memory":
            objects = open_store(f"memory://{secrets.token_hex(6)}")
        elif server is not None:
            given = server.storage(f"s3://{server.create_bucket()}/some/lake")
            objects = open_store(str(given.pop("uri")), given)
        return open_lake(folder, clock=clock, catalog=opened, objects=objects, inline_threshold=40)

    return new


def forget_rows(lake: Lake) -> None:
    """Have the next query load its rows anew."""
    engine = lake.query_engine()
    with engine._loading:
        for kept in engine.cache._kept.values():
            kept.rows.release()
        engine.cache._kept.clear()
