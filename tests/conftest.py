"""What tests share: Hypothesis profiles, the rule for missing servers, the guard of the tree."""

from __future__ import annotations

import functools
import gc
import os
import random
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from itertools import groupby
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import pytest
import typer.main
from hypothesis import HealthCheck, settings

import lakebed.catalog.registry as catalogs
import lakebed.documents.registry as documents
import lakebed.files.registry as storages
import lakebed.ltm.registry as backends
from lakebed.catalog.postgres import tidying as postgres_tidying
from lakebed.testing import (
    BlobStorageConformance,
    CatalogConformance,
    LockConformance,
    LogStoreConformance,
    LTMContract,
    MetadataStoreConformance,
)

PROJECT = Path(__file__).parents[1]

# The fixtures of servers are known to all tests from here. Where a module imports a fixture, pytest
# takes it for another one, and starts its server again. A module stands after those it imports.
pytest_plugins = (
    "tests.sharing", "tests.servers", "tests.command", "tests.buckets", "tests.packages",
    "tests.services.process", "tests.services.ministack", "tests.services.d1",
    "tests.services.dynamodb", "tests.services.firestore", "tests.services.mongodb",
    "tests.services.redis", "tests.services.sqld", "tests.services.environments",
)  # fmt: skip

# Its handlers fail in a child between fork and exec, which is how servers are started.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

# `make test` runs the whole suites on SQLite, in memory and in folders, and one test of so many on
# the classes below. Each class takes others. `make soak` runs all of them.
_KINDS = (
    "TestPostgres18",
    "TestSQLite",  # through SQLAlchemy
    "TestJournal",  # without SQL
)  # fmt: skip
_VARIANTS = (
    "TestMemory", "TestFileWithSmallObjects", "TestApsw",
    "TestPostgres15", "TestPgBouncer",
    "TestPostgres", "TestMariaDB", "TestDuckDB", "TestS3", "TestGCS", "TestAzure",
    "TestAsync", "TestAsyncOnPostgres", "TestS3Log", "TestTurso", "TestLogInRedis",
)  # fmt: skip
_SLOW = (
    "TestDynamoDBLog", "TestFirestoreLog", "TestMongoDBLog", "TestD1Log", "TestDuckDBDialect",
    "TestLitestream",
)  # fmt: skip
_CONTRACTS = (
    "TestSQLAlchemyOnPostgres", "TestSQLAlchemyOnMariaDB", "TestAsyncLTM",
    "TestTurso", "TestLitestream", "TestDynamoDB", "TestFirestore", "TestMongoDB", "TestD1",
    "TestRedis", "TestBucket", "TestBlobSQLite",
)  # fmt: skip
# Backends made of what another one, or the conformance tests of catalogs, runs whole.
_LIKE_OTHERS = (
    "TestSQLiteInMemory", "TestDuckLake", "TestDuckDBOnPostgres", "TestSQLAlchemyOnSQLite",
)  # fmt: skip
_ASYNC_DOCUMENTS = (
    "TestAsyncLake", "TestAsyncPostgres", "TestAsyncMongoDB", "TestAsyncDynamoDB",
    "TestAsyncFirestore",
)  # fmt: skip
SHARES: dict[type, dict[str, int]] = {
    CatalogConformance: (
        {"TestLogInFolder": 3}  # the log of every store
        | dict.fromkeys(_KINDS, 4)
        | dict.fromkeys(_VARIANTS, 15)
        | dict.fromkeys(_SLOW, 30)
    ),
    LTMContract: dict.fromkeys(_CONTRACTS, 10) | dict.fromkeys(_LIKE_OTHERS, 3),
    BlobStorageConformance: dict.fromkeys(
        ("TestS3Files", "TestGCSFiles", "TestAzureFiles", "TestAsyncFiles"), 10
    ),
    MetadataStoreConformance: (
        dict.fromkeys(_ASYNC_DOCUMENTS, 15)
        | dict.fromkeys(("TestMongoDB", "TestDynamoDB", "TestFirestore"), 6)
        | {"TestPostgres": 3}
    ),
    LockConformance: dict.fromkeys(
        ("TestS3", "TestDynamoDB", "TestFirestore", "TestRedis", "TestPostgresClock"), 5
    ),
    LogStoreConformance: dict.fromkeys(
        ("TestS3", "TestDynamoDB", "TestFirestore", "TestMongoDB", "TestD1", "TestD1ByWorker"), 4
    ),
}

settings.register_profile(
    "default",
    deadline=None,  # timing is no test's matter here, and the cores are shared
    max_examples=20,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("soak", settings.get_profile("default"), max_examples=3000)
SOAK = os.environ.get("LAKEBED_SOAK") == "1"
SAMPLE = int(os.environ.get("LAKEBED_SAMPLE", "0"))
"""Another number takes other tests of SHARES and of `sampled`, and other schedules."""
settings.load_profile("soak" if SOAK else "default")


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether the full counts are asked for (`make soak`)."""
    return SOAK


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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SOAK:
        return
    left = _left_by_sampled(items)
    suites = groupby(sorted(items, key=lambda item: item.nodeid), _suite)
    for number, (_, suite) in enumerate(suites):
        tests = list(suite)
        share = _share(tests[0])
        left |= {item.nodeid for at, item in enumerate(tests, number + SAMPLE) if at % share}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = [item for item in items if item.nodeid not in left]


def pytest_report_header() -> str:
    return "whole suites" if SOAK else f"LAKEBED_SAMPLE={SAMPLE}"


def _left_by_sampled(items: list[pytest.Item]) -> set[str]:
    """What `sampled` leaves out: of the values of a fixture one in so many is run, in each case
    others, so that every case runs with some and every value in some case."""
    modules: dict[Path, dict[tuple[object, ...], list[tuple[int, int, str]]]]
    modules = defaultdict(lambda: defaultdict(list))
    for item in sorted(items, key=lambda item: item.nodeid):
        marker, spec = item.get_closest_marker("sampled"), getattr(item, "callspec", None)
        if marker is None or spec is None or marker.args[0] not in spec.indices:
            continue
        name, share = marker.args
        others = sorted((key, id(value)) for key, value in spec.params.items() if key != name)
        case = (item.nodeid.partition("[")[0], *others)
        modules[item.path][case].append((spec.indices[name], share, item.nodeid))
    return {
        nodeid
        for cases in modules.values()
        for number, case in enumerate(cases.values(), SAMPLE)
        for at, share, nodeid in case
        if len(case) > 1 and (at + number) % share  # one that was asked for alone is run
    }


def _suite(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0].rpartition("::")[0]


def _share(item: pytest.Item) -> int:
    """Of how many tests of its class one is run."""
    suite = item.getparent(pytest.Class)
    if suite is None:
        return 1
    shares = (of.get(suite.name, 1) for kind, of in SHARES.items() if issubclass(suite.obj, kind))
    return max(shares, default=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests noted with `record_property`, so that counts are seen in every run."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
