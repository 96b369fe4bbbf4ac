"""What tests share: Hypothesis profiles, the rule for missing servers, the guard of the tree."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings

import lakebed.catalog.registry as catalogs
import lakebed.ltm.registry as backends
from lakebed.catalog.postgres import tidying as postgres_tidying
from lakebed.testing import CatalogConformance, LTMContract

PROJECT = Path(__file__).parents[1]

# `make test` runs the whole conformance suite on SQLite and Postgres 18, and every tenth test of it
# on these, which keeps it within twenty minutes on two cores; `make soak` runs all of it.
SAMPLED = (
    "TestMemory", "TestFileWithSmallObjects", "TestApsw", "TestPostgres15", "TestPgBouncer",
    "TestPostgres", "TestMariaDB", "TestDuckDB", "TestS3", "TestGCS", "TestAzure",
    "TestAsync", "TestAsyncOnPostgres",
)  # fmt: skip
SAMPLED_CONTRACTS = ("TestSQLAlchemyOnPostgres", "TestSQLAlchemyOnMariaDB", "TestAsyncLTM")
SHARE = 10

settings.register_profile(
    "default",
    deadline=None,  # timing is no test's matter here, and the cores are shared
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("soak", settings.get_profile("default"), max_examples=3000)
SOAK = os.environ.get("LAKEBED_SOAK") == "1"
settings.load_profile("soak" if SOAK else "default")


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether the full counts are asked for (`make soak`)."""
    return SOAK


@pytest.fixture(scope="session")
def require_server() -> Callable[[str, str], NoReturn]:
    """Call it with the name of a server that could not be had, and why.

    Skips the test; where LAKEBED_REQUIRE_SERVERS=1 (as in .ci/run) it fails instead, so that no
    run passes for want of a server.
    """

    def missing(name: str, reason: str) -> NoReturn:
        message = f"{name} is not available: {reason}"
        if os.environ.get("LAKEBED_REQUIRE_SERVERS") == "1":
            pytest.fail(message)
        pytest.skip(message)

    return missing


@pytest.fixture(scope="session", autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    """No test may write outside its temporary folder: `./lakebed`, or something in HOME."""

    def names() -> set[Path]:
        return {path for folder in (PROJECT, Path.home()) for path in folder.iterdir()}

    before = names()
    yield
    tools = {PROJECT / name for name in (".hypothesis", ".pytest_cache", ".ruff_cache")}
    left = names() - before - tools - {Path.home() / ".cache"}
    assert not left, f"tests left files outside their temporary folders: {sorted(map(str, left))}"


@pytest.fixture(scope="session", autouse=True)
def _cache_folder() -> Iterator[None]:
    """The copies of segments that lakes keep, those of child processes too, end with the tests."""
    with (
        tempfile.TemporaryDirectory(prefix="lakebed-cache-") as folder,
        patch.dict(os.environ, {"XDG_CACHE_HOME": folder}),
    ):
        yield


@pytest.fixture(autouse=True)
def _clients_tidy_late() -> Iterator[None]:
    """When a client of Postgres first tidies up is no chance in tests: some count what it would."""
    with patch.object(postgres_tidying, "first_turn", lambda: postgres_tidying.EVERY):
        yield


@pytest.fixture(autouse=True)
def _registries_as_they_were() -> Iterator[None]:
    """What a test registers ends with it: the next one of this process must not see it."""
    with (
        patch.dict(catalogs._openers),
        patch.dict(catalogs._schemes),
        patch.dict(backends._factories),
    ):
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SOAK:
        return
    sampled = [item for item in items if _is_sampled(item)]
    left = {item.nodeid for number, item in enumerate(sorted(sampled, key=_id)) if number % SHARE}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = [item for item in items if item.nodeid not in left]


def _is_sampled(item: pytest.Item) -> bool:
    suite = item.getparent(pytest.Class)
    if suite is None:
        return False
    if issubclass(suite.obj, LTMContract):
        return suite.name in SAMPLED_CONTRACTS
    return suite.name in SAMPLED and issubclass(suite.obj, CatalogConformance)


def _id(item: pytest.Item) -> str:
    return item.nodeid


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests noted with `record_property`, so that counts are seen in every run."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
