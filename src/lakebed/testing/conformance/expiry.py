"""Entries that expire, by a clock that the test moves."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import ClassVar

import pytest

from lakebed.errors import ConflictError, NotFoundError, ValidationError
from lakebed.lake.checks import TTL
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, needs

_LARGE = "a large value " * 50
MICROSECOND = timedelta(microseconds=1)


class Expiry(Conformance):
    """An expired entry is invisible at once, to every call."""

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


class Touching(Conformance):
    """`touch`, and `store` with `keep_expiry`."""

    FEATURE: ClassVar[str] = "touching"

    @needs("versions")
    def test_touch_changes_the_expiry_alone(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=100)
        for key, value in (("small", 1), ("large", _LARGE)):
            stored = lake.store(key, value, {"x": 1}, ttl=10)
            lake.create_snapshot(key)
            touched = lake.touch(key, ttl="1m")
            assert touched.expires_at == clock.now + timedelta(minutes=1)
            assert touched.version > stored.version
            assert (touched.value, touched.metadata) == (value, {"x": 1})
            assert touched.created_at == stored.created_at
            before = lake.at(key).entry(key)
            assert before is not None
            assert before.expires_at == stored.expires_at
        clock.advance(30)
        assert lake["large"] == _LARGE
        moment = clock.now + timedelta(hours=1)
        assert lake.touch("small", expires_at=moment).expires_at == moment
        assert lake.touch("small").expires_at is None
        clock.advance(30)
        assert dict(lake) == {"small": 1}
        assert [hit.key for hit in lake.search(metadata_filter={"x": 1})] == ["small"]

    def test_touch_needs_an_entry(self, lake: Lake, clock: FakeClock) -> None:
        with pytest.raises(NotFoundError, match="'a'"):
            lake.touch("a", ttl=10)
        lake.store("a", 1, ttl=10)
        clock.advance(10)
        with pytest.raises(NotFoundError, match="'a'"):
            lake.touch("a", ttl=10)
        with pytest.raises(ValidationError, match="ttl"):
            lake.touch("a", ttl=0)
        assert len(lake) == 0

    def test_touching_to_the_same_expiry_changes_nothing(self, lake: Lake) -> None:
        stored = lake.store("a", 1, ttl=10)
        assert lake.touch("a", ttl=10).version == stored.version

    def test_keep_expiry(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=100)
        until = lake.store("a", 1, ttl=10).expires_at
        clock.advance(5)
        assert lake.store("a", 2, keep_expiry=True).expires_at == until
        assert lake.store("a", _LARGE, {"x": 1}, keep_expiry=True).expires_at == until
        assert lake.store("b", 1, keep_expiry=True).expires_at is None
        with lake.transaction() as tx:
            tx.store("a", 3, keep_expiry=True)
            tx.store("c", 3, keep_expiry=True)
        assert lake["a"] == 3
        clock.advance(5)
        assert sorted(lake) == ["b", "c"]
        assert lake.store("a", 4, keep_expiry=True).expires_at is None
        with pytest.raises(ConflictError, match="if_absent"):
            lake.store("a", 5, keep_expiry=True, if_absent=True)
        with pytest.raises(ValidationError, match="keep_expiry cannot be combined"):
            lake.store("a", 5, keep_expiry=True, ttl=10)
        assert lake["a"] == 4

    def test_no_store_in_between_is_lost(self, lake: Lake) -> None:
        """A touch never brings back a value that somebody has replaced. A store with `keep_expiry`
        never brings back an expiry that somebody has changed."""
        lake.store("counter", 0, ttl=1000)
        last = lake.store("a", 0, ttl=1000).expires_at

        def touch() -> None:
            for n in range(20):
                lake.touch("counter", ttl=1000 + n)

        def keep() -> None:
            for n in range(20):
                lake.store("a", n, keep_expiry=True)

        threads = [threading.Thread(target=work) for work in (touch, keep)]
        for thread in threads:
            thread.start()
        for n in range(1, 21):
            assert lake.store("counter", n, keep_expiry=True).value == n
            assert lake["counter"] == n
            assert (last := lake.touch("a", ttl=2000 + n).expires_at) is not None
            entry = lake.entry("a")
            assert entry is not None
            assert entry.expires_at == last
        for thread in threads:
            thread.join()
        entry = lake.entry("a")
        assert entry is not None
        assert (entry.value, entry.expires_at) == (19, last)
        assert lake["counter"] == 20
        assert lake.entry("counter").expires_at is not None  # type: ignore[union-attr]
