"""The base of all parts of the conformance suite."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypedDict, TypeVar, Unpack

import pytest

from lakebed.catalog.capabilities import Capability
from lakebed.lake.lake import Lake
from lakebed.lake.opening import History
from lakebed.testing.clock import FakeClock
from lakebed.testing.gaps import GapSuite


class LakeSettings(TypedDict, total=False):
    """The settings of `lakebed.testing.open_lake` that tests use.

    `inline_threshold` is in bytes, `lock_timeout` in seconds, `history_retention` in microseconds.
    """

    inline_threshold: int
    lock_timeout: float
    history: History
    history_retention: int


class OpenLake(Protocol):
    """A function that opens the test's lake."""

    def __call__(self, **settings: Unpack[LakeSettings]) -> Lake: ...


T = TypeVar("T")
_NEEDS = "_needed_capabilities"


def needs(*capabilities: Capability) -> Callable[[T], T]:
    """Return a decorator for a test or a part of the suite that needs these capabilities."""

    def mark(marked: T) -> T:
        setattr(marked, _NEEDS, frozenset(capabilities))
        return marked

    return mark


class Conformance(GapSuite):
    """The method that a catalog's test must implement, and the fixtures of the suite."""

    lacks: ClassVar[Set[Capability]] = frozenset()
    """The capabilities that the catalog does not have. Tests that need them are skipped."""

    @abstractmethod
    def open_lake(self, folder: Path, clock: FakeClock, **settings: Unpack[LakeSettings]) -> Lake:
        """Open the lake in this folder. The catalog must take its time from this clock.

        `folder` exists. `settings`: pass them to `lakebed.testing.open_lake`. Opening the same
        folder twice must give the same lake, unless `reopening` is a gap.
        """

    @pytest.fixture(autouse=True)
    def _skip_what_it_lacks(self, request: pytest.FixtureRequest) -> None:
        name = request.function.__name__
        part = next(part for part in type(self).__mro__ if name in vars(part))
        needed = {*getattr(request.function, _NEEDS, ()), *vars(part).get(_NEEDS, ())}
        if lacked := sorted(needed & self.lacks):
            pytest.skip(f"the catalog declares that it lacks: {', '.join(lacked)}")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The clock of the lake."""
        return FakeClock()

    @pytest.fixture
    def opening(self, tmp_path: Path, clock: FakeClock) -> Iterator[OpenLake]:
        """A function that opens the test's lake. Every lake is closed at the end."""
        lakes = []

        def open_lake(**settings: Unpack[LakeSettings]) -> Lake:
            lake = self.open_lake(tmp_path, clock, **settings)
            lakes.append(lake)
            return lake

        yield open_lake
        for lake in lakes:
            lake.close()

    @pytest.fixture
    def lake(self, opening: OpenLake) -> Lake:
        """A new lake with the default settings."""
        return opening()


def contents(lake: Lake) -> dict[str, tuple[Any, dict[str, Any], Any]]:
    """Return everything that is visible: value, metadata and expiry, by key."""
    return {entry.key: (entry.value, entry.metadata, entry.expires_at) for entry in lake.list()}


def same(a: object, b: object) -> bool:
    """Return whether two values are equal and have the same types at every level.

    1 differs from 1.0 and True, and 0.0 from -0.0.
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()
    return a == b
