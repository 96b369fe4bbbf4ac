"""What tests share: the rule for missing servers, the guard of the tree."""

from __future__ import annotations

import functools
import gc
import os
import random
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import pytest
import typer.main

import lakebed.catalog.registry as catalogs
import lakebed.documents.registry as documents
import lakebed.files.registry as storages
import lakebed.ltm.registry as backends
from lakebed.catalog.postgres import tidying as postgres_tidying

PROJECT = Path(__file__).parents[1]

# The fixtures of servers are known to all tests from here. Where a module imports a fixture, pytest
# takes it for another one, and starts its server again. A module stands after those it imports.
pytest_plugins = (
    "tests.sampling", "tests.sharing", "tests.servers", "tests.command", "tests.buckets",
    "tests.packages", "tests.services.process", "tests.services.ministack", "tests.services.d1",
    "tests.services.dynamodb", "tests.services.firestore", "tests.services.mongodb",
    "tests.services.redis", "tests.services.sqld", "tests.services.environments",
)  # fmt: skip

# Its handlers fail in a child between fork and exec, which is how servers are started.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """New chances in each run; the seed is shown when the test fails."""
    seed = int.from_bytes(os.urandom(4))
    request.node.add_report_section("setup", "seed", str(seed))
    return random.Random(seed)


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


@pytest.fixture(scope="session", autouse=True)
def _commands_are_built_once() -> Iterator[None]:
    """Typer's runner builds all commands anew at each call, which takes longer than most calls."""
    with patch("typer.testing._get_command", functools.cache(typer.main.get_command)):
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
        patch.dict(documents._factories),
        patch.dict(storages._factories),
    ):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives as long as the process, so no search for garbage looks at it: each
    would take a second, and every test of a coroutine asks for one."""
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


class FailuresAtOnce:
    """Names a test when it fails or took a minute, so that a run that is ended early tells it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and (report.failed or report.duration > 60):
            took = f"{report.when} took {report.duration:.0f} s"
            terminal.write_line(f"\n{report.outcome}: {report.nodeid} ({took})")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests noted with `record_property`, so that counts are seen in every run."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
