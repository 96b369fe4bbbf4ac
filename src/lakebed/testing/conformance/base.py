"""What the parts of the conformance suite share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock

OpenLake = Callable[..., Lake]
"""Opens the test's lake anew, with settings of `Conformance.open_lake`."""


class Conformance(ABC):
    """The hook that a catalog's test fills in, and the fixtures of the suite."""

    FEATURE: ClassVar[str]
    """What a part of the suite proves; each part names its own."""

    gaps: ClassVar[Mapping[str, str]] = {}
    """Features that the catalog lacks, each with the reason; `Conformance.features` lists them.

    Their tests are expected to fail: one that passes fails the suite, and the gap is to be closed.
    """

    @abstractmethod
    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        """Open the lake of this folder with this clock as the catalog's time.

        `folder` exists. `settings` are those of `lakebed.testing.open_lake` that a test needs:
        `inline_threshold` (bytes), `lock_timeout` (seconds), `history` and `history_retention`.
        Opening the same folder twice gives the same lake, unless `reopening` is a gap.
        """

    @classmethod
    def features(cls) -> set[str]:
        """The names of all features that the suite tests."""
        return {vars(part)["FEATURE"] for part in cls.__mro__ if "FEATURE" in vars(part)}

    @pytest.fixture(autouse=True)
    def _expect_gaps(self, request: pytest.FixtureRequest) -> None:
        name = request.function.__name__
        part = next(part for part in type(self).__mro__ if name in vars(part))
        feature = vars(part).get("FEATURE", "")
        if feature in self.gaps:
            request.applymarker(pytest.mark.xfail(reason=self.gaps[feature], strict=True))

    @pytest.fixture
    def clock(self) -> FakeClock:
        """The time of the lake."""
        return FakeClock()

    @pytest.fixture
    def opening(self, tmp_path: Path, clock: FakeClock) -> Iterator[OpenLake]:
        """Opens the test's lake, as often as it is called; all are closed at the end."""
        lakes = []

        def open_lake(**settings: Any) -> Lake:
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

    def test_gaps_are_features(self) -> None:
        assert set(self.gaps) <= self.features()


def contents(lake: Lake) -> dict[str, tuple[Any, dict[str, Any], Any]]:
    """All that is visible: value, metadata and expiry by key."""
    return {entry.key: (entry.value, entry.metadata, entry.expires_at) for entry in lake.list()}


def same(a: object, b: object) -> bool:
    """Equal, and of the same types all the way down: 1 is not 1.0, 0.0 not -0.0, nor 1 True."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()
    return a == b
