"""Any sequence of calls does to a lake on a server what it does to a dictionary."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.registry import open_catalog
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, LakeMachine, open_lake
from lakebed.testing.machine.history import HistoryMachine

pytestmark = pytest.mark.sampled("catalogs", 2)

EXAMPLES, SOAK_EXAMPLES = 2, 300


CATALOGS = ("postgres", "mariadb", "sqlalchemy sqlite", "sqlalchemy postgres", "duckdb")


@pytest.fixture(params=CATALOGS)
def catalogs(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Gives the place of a new catalog."""

    def new() -> dict[str, object]:
        name = f"machine_{secrets.token_hex(6)}"  # Hypothesis makes `random` repeat itself
        if request.param == "mariadb":
            return {"type": "mariadb", "url": request.getfixturevalue("mariadb").url(name)}
        if request.param == "duckdb":
            return {"type": "sqlalchemy", "url": f"duckdb:///{tmp_path}/{name}.db"}
        if request.param == "sqlalchemy sqlite":
            return {"type": "sqlalchemy", "url": f"sqlite:///{tmp_path}/{name}.db"}
        url = request.getfixturevalue("postgres_18").url()
        if request.param == "sqlalchemy postgres":
            return {"type": "sqlalchemy", "url": url, "schema": name, "pool_size": 2}
        return {"type": "postgres", "url": url, "schema": name, "max_size": 2}

    new()
    return new


def run(machine: type[LakeMachine], catalogs: Any, soak: bool, **asked: Any) -> None:
    """Run a machine whose lakes each have a catalog of their own."""
    places: dict[Path, dict[str, object]] = {}

    class OnServer(machine):  # type: ignore[misc, valid-type]
        """Lakes on the server of the test."""

        def open_lake(self, folder: Path, clock: FakeClock) -> Lake:
            place = places.setdefault(folder, catalogs())
            catalog = open_catalog(place, CatalogOptions(clock=clock))
            return open_lake(folder, clock=clock, catalog=catalog, inline_threshold=8, **asked)

    examples = SOAK_EXAMPLES if soak else EXAMPLES
    run_state_machine_as_test(OnServer, settings=settings(max_examples=examples))


def test_lake(catalogs: Any, soak: bool) -> None:
    run(LakeMachine, catalogs, soak)


class ForAWhile(HistoryMachine):
    """Versions are kept for three seconds."""

    RETENTION: ClassVar[int | None] = 3_000_000


def test_history(catalogs: Any, soak: bool) -> None:
    run(ForAWhile, catalogs, soak, history="all", history_retention=ForAWhile.RETENTION)
