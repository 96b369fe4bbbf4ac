"""History: the lake at any time and version, and the versions of a key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, needs

LARGE = "large " * 2000


@needs("versions")
class Moments(Conformance):
    """Reading any time and version of a lake that keeps every version."""

    FEATURE: ClassVar[str] = "history of every version"

    def test_at_a_time(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all")
        start = clock.now
        clock.advance(1)
        lake.store("a", 1)
        lake.store("b", 1, ttl=2)
        clock.advance(1)
        lake.store("a", 2)
        clock.advance(1)
        del lake["a"]
        clock.advance(1)

        def at(seconds: float) -> dict[str, Any]:
            return dict(lake.at(start + timedelta(seconds=seconds)))

        assert at(0) == at(0.999999) == {}
        assert at(1) == at(1.999999) == {"a": 1, "b": 1}
        assert at(2) == {"a": 2, "b": 1}
        assert at(2.999999) == {"a": 2, "b": 1}
        assert at(3) == at(4) == {}

    def test_at_a_version(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all")
        first = lake.store("a", 1).version
        clock.advance(1)
        second = lake.store("a", 2, ttl=1).version
        clock.advance(1)
        third = lake.store("b", 3).version
        assert dict(lake.at(0)) == {}
        assert dict(lake.at(first)) == {"a": 1}
        assert dict(lake.at(second)) == {"a": 2}
        assert dict(lake.at(third)) == {"b": 3}  # a had expired by then
        with pytest.raises(NotFoundError, match="not there yet"):
            lake.at(third + 1)

    def test_diff_of_times(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all")
        start = clock.now
        clock.advance(1)
        version = lake.store("a", 1).version
        clock.advance(1)
        lake.store("a", 2)
        assert [e.key for e in lake.diff(start).added] == ["a"]
        assert [c.key for c in lake.diff(version).changed] == ["a"]
        snapshot = lake.create_snapshot("s")
        assert [e.key for e in lake.diff(snapshot, start).removed] == ["a"]

    def test_the_future(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all")
        with pytest.raises(NotFoundError, match="in the future"):
            lake.at(clock.now + timedelta(microseconds=1))
        assert len(lake.at(clock.now)) == 0

    @pytest.mark.parametrize("moment", [-1, True, 1.0])
    def test_malformed_moments(self, opening: OpenLake, moment: Any) -> None:
        lake = opening(history="all")
        with pytest.raises(ValidationError):
            lake.at(moment)

    def test_a_time_without_a_zone(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all")
        with pytest.raises(ValidationError, match="zone"):
            lake.at(clock.now.replace(tzinfo=None))

    def test_only_where_it_is_kept(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1)
        for moment in (clock.now, 1):
            with pytest.raises(ValidationError, match="history='all'"):
                lake.at(moment)

    def test_retention(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all", history_retention=10_000_000)
        start = clock.now
        for value in range(4):
            lake.store("a", value)
            clock.advance(4)
        assert lake.maintain().history == 1  # replaced 12 seconds ago; the next one 8
        with pytest.raises(NotFoundError, match="no longer kept"):
            lake.at(start)
        assert lake.at(start + timedelta(seconds=4))["a"] == 1
        assert len(lake.history("a")) == 3
        clock.advance(100)
        lake.maintain()
        assert len(lake.history("a")) == 1
        assert lake.at(clock.now)["a"] == 3

    def test_quiet_times_within_the_retention(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all", history_retention=10_000_000)
        lake.store("old", 0)
        lake.store("a", 1)
        clock.advance(1)
        del lake["a"]
        quiet = clock.now
        clock.advance(10)
        assert lake.maintain().history == 1
        clock.advance(-5)
        assert dict(lake.at(quiet)) == {"old": 0}
        assert dict(lake.at(clock.now)) == {"old": 0}

    def test_snapshots_outlive_the_retention(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all", history_retention=1_000_000)
        lake.store("a", 1)
        lake.create_snapshot("s")
        lake.store("a", 2)
        lake.store("a", 3)
        clock.advance(60)
        assert lake.maintain().history == 1
        assert lake.at("s")["a"] == 1
        lake.drop_snapshot("s")
        assert lake.maintain().history == 1

    def test_a_view_whose_history_goes(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(history="all", history_retention=1_000_000)
        lake.store("a", 1)
        view = lake.at(clock.now)
        lake.store("a", 2)
        assert view["a"] == 1
        clock.advance(60)
        lake.maintain()
        for call in (list, len):
            with pytest.raises(NotFoundError, match="no longer kept"):
                call(view)


@needs("versions")
class History(Conformance):
    """The versions of one key."""

    FEATURE: ClassVar[str] = "history"

    def test_between_snapshots(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1, {"n": 1})
        lake.create_snapshot("s")
        clock.advance(1)
        lake.store("a", 2)
        ended = clock.now
        clock.advance(1)
        last = lake.store("a", 3)
        history = lake.history("a")
        assert [version.value for version in history] == [3, 1]
        assert history[0].version == last.version
        assert [version.ended_at for version in history] == [None, ended]
        assert history[1].metadata == {"n": 1}
        assert not history.complete
        assert "not kept" in (history.note or "")

    def test_every_version(self, opening: OpenLake) -> None:
        lake = opening(history="all")
        for value in (1, 2, 2, 3):
            lake.store("a", value)
        del lake["a"]
        lake.store("a", LARGE)
        history = lake.history("a")
        assert [version.value for version in history] == [LARGE, 3, 2, 1]
        assert history[1].ended_at is not None
        assert history.complete
        assert history.note is None
        assert [version.value for version in history[1:3]] == [3, 2]

    def test_a_page_of_versions(self, opening: OpenLake) -> None:
        lake = opening(history="all")
        for value in range(10):
            lake.store("a", value)
        lake.store("b", 1)
        found, before = [], None
        while page := lake.history("a", limit=4, before=before):
            found.append([version.value for version in page])
            before = page[-1].version
        assert found == [[9, 8, 7, 6], [5, 4, 3, 2], [1, 0]]
        assert [version.value for version in lake.history("a", limit=1)] == [9]
        assert len(lake.history("a", limit=0)) == 0
        assert len(lake.history("a", before=0)) == 0
        assert len(lake.history("a", limit=2**80, before=2**80)) == 10
        for wrong in ({"limit": -1}, {"before": -1}, {"limit": "2"}):
            with pytest.raises(ValidationError):
                lake.history("a", **wrong)

    def test_a_key_that_never_was(self, lake: Lake) -> None:
        assert list(lake.history("none")) == []
        with pytest.raises(ValidationError):
            lake.history("")
