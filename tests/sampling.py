"""The sample that `make test` runs: which tests of a suite, on which systems.

What is left out of a class is not even collected: two thirds of all cases are, which each worker
would collect for nothing.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sized
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lakebed.testing import (
    BlobStorageConformance,
    CatalogConformance,
    LockConformance,
    LogStoreConformance,
    LTMContract,
    MetadataStoreConformance,
)

SOAK = os.environ.get("LAKEBED_SOAK") == "1"
SAMPLE = int(os.environ.get("LAKEBED_SAMPLE", "0"))
"""Another number takes other tests of SHARES and of `sampled`, and other schedules."""

settings.register_profile(
    "default",
    deadline=None,  # timing is no test's matter here, and the cores are shared
    max_examples=20,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("soak", settings.get_profile("default"), max_examples=3000)
settings.load_profile("soak" if SOAK else "default")

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
    "TestPostgres", "TestMariaDB", "TestS3", "TestGCS", "TestAzure",
    "TestAsync", "TestAsyncOnPostgres", "TestS3Log", "TestTurso", "TestLogInRedis",
)  # fmt: skip
_SLOW = (
    "TestDynamoDBLog", "TestFirestoreLog", "TestMongoDBLog", "TestD1Log", "TestDuckDBDialect",
    "TestDuckDB", "TestLitestream",
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
        {"TestLogInFolder": 4}  # the log of every store
        | dict.fromkeys(_KINDS, 6)
        | dict.fromkeys(_VARIANTS, 20)
        | dict.fromkeys(_SLOW, 40)
    ),
    LTMContract: (
        {"TestPostgres": 3} | dict.fromkeys(_CONTRACTS, 12) | dict.fromkeys(_LIKE_OTHERS, 6)
    ),
    BlobStorageConformance: dict.fromkeys(
        ("TestS3Files", "TestGCSFiles", "TestAzureFiles", "TestAsyncFiles"), 10
    ),
    MetadataStoreConformance: (
        dict.fromkeys(_ASYNC_DOCUMENTS, 20)
        | dict.fromkeys(("TestMongoDB", "TestDynamoDB", "TestFirestore"), 10)
        | {"TestPostgres": 5}
    ),
    LockConformance: dict.fromkeys(
        ("TestS3", "TestDynamoDB", "TestFirestore", "TestRedis", "TestPostgresClock"), 5
    ),
    LogStoreConformance: dict.fromkeys(
        ("TestS3", "TestDynamoDB", "TestFirestore", "TestMongoDB", "TestD1", "TestD1ByWorker"), 4
    ),
}


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether the full counts are asked for (`make soak`)."""
    return SOAK


class Chosen:
    """The cases of a class that are run, by the names of its tests: of each, how many cases it has
    as far as its marks tell, and the numbers of those that are run."""

    def __init__(self, suite: type, share: int, number: int) -> None:
        self.cases: dict[str, tuple[int, set[int]]] = {}
        at = number + SAMPLE
        for name in sorted(name for name in dir(suite) if name.startswith("test")):
            count = _count(getattr(suite, name))
            if run := {case for case in range(count) if (at + case) % share == 0}:
                self.cases[name] = (count, run)
            at += count

    def left(self, tests: list[pytest.Function]) -> Iterator[str]:
        """What is left out of the cases of one test. Those that its fixtures make of one case, and
        its marks do not tell, stay together."""
        count, run = self.cases[tests[0].originalname]
        for at, test in enumerate(sorted(tests, key=lambda test: test.nodeid)):
            if at * count // len(tests) not in run:
                yield test.nodeid


_CHOSEN = pytest.StashKey[dict[type, Chosen]]()
_NUMBERS = pytest.StashKey[Counter[tuple[type, int]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CHOSEN] = {}
    config.stash[_NUMBERS] = Counter()


def pytest_report_header() -> str:
    return "whole suites" if SOAK else f"LAKEBED_SAMPLE={SAMPLE}"


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str
) -> list[pytest.Item] | None:
    if SOAK or not isinstance(collector, pytest.Class) or not name.startswith("test"):
        return None
    chosen = _chosen(collector)
    return None if chosen is None or name in chosen.cases else []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if SOAK:
        return
    left = _left_by_sampled(items)
    tests: dict[tuple[Chosen, str], list[pytest.Function]] = defaultdict(list)
    for item in items:
        suite = item.getparent(pytest.Class)
        if isinstance(item, pytest.Function) and suite and (chosen := _chosen(suite)):
            tests[chosen, item.originalname].append(item)
    for (chosen, _), cases in tests.items():
        left.update(chosen.left(cases))
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = [item for item in items if item.nodeid not in left]


def _chosen(suite: pytest.Class) -> Chosen | None:
    """What is run of a class; None if all of it is. Each class of a kind takes other cases."""
    known, config = suite.config.stash[_CHOSEN], suite.config
    if suite.obj in known:
        return known[suite.obj]
    shares = [
        (of.get(suite.name, 1), kind) for kind, of in SHARES.items() if issubclass(suite.obj, kind)
    ]
    share, kind = max(shares, key=lambda found: found[0], default=(1, object))
    # One that is asked for by its name is run.
    if share == 1 or any("::test_" in argument for argument in config.args):
        return None
    number = config.stash[_NUMBERS][kind, share]
    config.stash[_NUMBERS][kind, share] += 1
    return known.setdefault(suite.obj, Chosen(suite.obj, share, number))


def _count(function: object) -> int:
    marks = [mark for mark in getattr(function, "pytestmark", ()) if mark.name == "parametrize"]
    values = [mark.args[1] if len(mark.args) > 1 else mark.kwargs["argvalues"] for mark in marks]
    return math.prod(len(value) if isinstance(value, Sized) else 1 for value in values)


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
