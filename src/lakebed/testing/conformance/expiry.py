"""Entries that expire, by a clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import pytest

from lakebed.errors import NotFoundError
from lakebed.lake.checks import TTL
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance

MICROSECOND = timedelta(microseconds=1)


class Expiry(Conformance):
    """Expired means invisible at once, everywhere."""

    FEATURE: ClassVar[str] = "expiry"

    def test_visible_until_the_very_moment(self, lake: Lake, clock: FakeClock) -> None:
        stored = lake.store("a", 1, {"x": 1}, ttl=10)
        assert stored.expires_at == clock.now + timedelta(seconds=10)
        clock.advance(timedelta(seconds=10) - MICROSECOND)
        assert lake.retrieve("a") == 1
        clock.advance(MICROSECOND)
        with pytest.raises(NotFoundError):
            lake.retrieve("a")

    def test_invisible_everywhere(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1, {"x": 1}, ttl=10)
        lake.store("b", 2, {"x": 1})
        clock.advance(10)
        assert lake.retrieve("a", "gone") == "gone"
        assert lake.entry("a") is None
        assert "a" not in lake
        assert len(lake) == 1
        assert list(lake) == ["b"]
        assert dict(lake) == {"b": 2}
        assert [entry.key for entry in lake.list()] == ["b"]
        assert [entry.key for entry in lake.list(limit=1)] == ["b"]
        assert [entry.key for entry in lake.list(metadata_filter={"x": 1})] == ["b"]
        assert lake.delete("a") is False
        with lake.transaction() as tx:
            assert tx.retrieve("b") == 2
            assert tx.retrieve("a", None) is None
            assert tx.delete("a") is False

    @pytest.mark.parametrize(
        ("ttl", "micros"),
        [
            (1, 1_000_000),
            (0.5, 500_000),
            (1e-6, 1),
            (1e-9, 1),
            (timedelta(minutes=1), 60_000_000),
            (MICROSECOND, 1),
            (1e9, 10**15),
            ("90s", 90_000_000),
            ("1h30m", 5_400_000_000),
        ],
    )
    def test_ttl(self, lake: Lake, clock: FakeClock, ttl: TTL, micros: int) -> None:
        stored = lake.store("a", 1, ttl=ttl)
        assert stored.expires_at == clock.now + timedelta(microseconds=micros)
        assert "a" in lake
        clock.advance(timedelta(microseconds=micros))
        assert "a" not in lake

    def test_expires_at(self, lake: Lake, clock: FakeClock) -> None:
        zone = timezone(timedelta(hours=5, minutes=45))
        moment = (clock.now + timedelta(hours=1, microseconds=7)).astimezone(zone)
        stored = lake.store("a", 1, expires_at=moment)
        assert stored.expires_at == moment
        assert stored.expires_at.utcoffset() == timedelta(0)
        clock.advance(timedelta(hours=1, microseconds=6))
        assert "a" in lake
        clock.advance(MICROSECOND)
        assert "a" not in lake

    @pytest.mark.parametrize("year", [1, 1969, 9999])
    def test_any_moment_is_kept(self, lake: Lake, year: int) -> None:
        moment = datetime(year, 12, 31, 23, 59, 59, 999_999, UTC)
        assert lake.store("a", 1, expires_at=moment).expires_at == moment
        assert ("a" in lake) is (year == 9999)

    def test_storing_an_expired_key_again(self, lake: Lake, clock: FakeClock) -> None:
        first = lake.store("a", 1, {"x": 1}, ttl=10)
        clock.advance(11)
        again = lake.store("a", 1, {"x": 1})
        assert (again.created, again.changed) == (True, True)
        assert again.created_at == clock.now
        assert again.version > first.version
        assert lake["a"] == 1
        assert again.expires_at is None

    def test_an_expired_key_stored_alike_is_new(self, lake: Lake, clock: FakeClock) -> None:
        expiry = clock.now + timedelta(seconds=10)
        lake.store("a", 1, expires_at=expiry)
        clock.advance(20)
        again = lake.store("a", 1, expires_at=expiry)  # it expires in the past
        assert (again.created, again.changed) == (True, True)
        assert "a" not in lake

    def test_ttl_is_renewed_and_removed(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1, ttl=10)
        clock.advance(9)
        renewed = lake.store("a", 1, ttl=10)
        assert (renewed.created, renewed.changed, renewed.deduplicated) == (False, True, True)
        clock.advance(9)
        assert lake.store("a", 1).expires_at is None
        clock.advance(1000)
        assert lake["a"] == 1

    def test_stats_of_the_expired(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", "one", ttl=10)
        lake.store("b", "two", ttl=20)
        lake.store("c", "three")
        clock.advance(10)
        stats = lake.stats()
        assert (stats.entries, stats.expired) == (2, 1)
        assert stats.entry_bytes == len('"two"') + len('"three"')

    def test_cleanup(self, lake: Lake, clock: FakeClock) -> None:
        for number in range(7):
            lake.store(f"soon/{number}", number, ttl=10)
        lake.store("later", 1, ttl=11)
        lake.store("never", 1)
        assert dict(lake.cleanup_expired()) == {"deleted": 0, "remaining": 0}
        clock.advance(10)
        seen: list[tuple[int, int | None]] = []
        report = lake.cleanup_expired(batch_size=3, progress=lambda *step: seen.append(step))
        assert (report.deleted, report.remaining) == (7, 0)
        assert seen == [(3, 7), (6, 7), (7, 7)]
        assert list(lake) == ["later", "never"]
        assert lake.stats().expired == 0
        assert lake.cleanup_expired().deleted == 0

    def test_a_transaction_counts_ttl_from_its_commit(self, lake: Lake, clock: FakeClock) -> None:
        with lake.transaction() as tx:
            tx.store("a", 1, ttl=10)
            clock.advance(100)
        clock.advance(9)
        assert lake["a"] == 1
        clock.advance(1)
        assert "a" not in lake
