"""The calls that keep a lake clean, and that find damage."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, needs

LARGE = "large " * 100
DAY = timedelta(days=1)


@needs("collection")
class Collecting(Conformance):
    """`collect()` and `maintain()` remove contents to which nothing refers, and nothing else."""

    FEATURE: ClassVar[str] = "collection"

    def test_only_what_has_no_name_is_collected(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=100)
        lake.store("one", LARGE)
        lake.store("other", LARGE)
        lake.store_batch({"key": f"{n}", "value": f"{n} {LARGE}"} for n in range(4))
        lake.delete("one")
        lake.delete("3")
        assert (lake.collect(dry_run=True).objects, lake.collect().objects) == (1, 1)
        assert lake.collect(0).files == 0  # the pack has other values
        clock.advance(DAY)
        for key in "012":
            lake.store(key, "small")
        preview = lake.collect(0, dry_run=True)
        report = lake.collect(0)
        assert (preview.objects, preview.files) == (report.objects, report.files) == (3, 1)
        assert dict(lake) == {"other": LARGE} | dict.fromkeys("012", "small")
        assert not lake.verify().problems

    @needs("versions")
    def test_what_nothing_refers_to_is_collected(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=100)
        lake.store("seen", LARGE + "seen")
        lake.create_snapshot("s")
        lake.store_batch({"key": key, "value": LARGE + key} for key in ("gone", "seen", "stays"))
        lake.delete("gone")
        lake.delete("seen")
        clock.advance(DAY)
        preview = lake.collect(0, 0, dry_run=True)
        assert lake.stats().objects == 3
        report = lake.collect(0, 0)
        assert (preview.objects, report.objects) == (1, 1)
        assert lake.stats().objects == 2
        assert dict(lake) == {"stays": LARGE + "stays"}
        assert lake.at("s")["seen"] == LARGE + "seen"
        assert lake.collect(0, 0).objects == 0
        assert not lake.verify().problems

    def test_maintenance_removes_what_has_expired(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("a", 1, ttl=60)
        lake.store("b", 2)
        clock.advance(DAY)
        assert lake.stats().expired == 1
        assert lake.maintain().expired == 1
        assert (lake.stats().expired, lake.stats().objects) == (0, 1)
        assert dict(lake) == {"b": 2}


@needs("compaction", "collection")
class Compacting(Conformance):
    """`compact()` moves inline values to packs, and rewrites worn packs."""

    FEATURE: ClassVar[str] = "compaction"

    def test_values_move_and_stay_the_same(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=1_000_000)
        values = {f"k{n:02}": {"n": n, "text": LARGE} for n in range(20)}
        lake.store_batch({"key": key, "value": value} for key, value in values.items())
        clock.advance(DAY)
        before = {entry.key: entry.version for entry in lake.list()}
        assert lake.compact().flushed == 20
        stats = lake.stats()
        assert (stats.inline_objects, stats.packs) == (0, 1)
        assert {entry.key: entry.version for entry in lake.list()} == before
        for number in range(18):
            lake.delete(f"k{number:02}")
        lake.collect(0, 0)
        clock.advance(DAY)
        assert lake.compact().repacked == 2
        assert dict(lake) == {key: values[key] for key in ("k18", "k19")}
        assert not lake.verify().problems


@needs("purge")
class Purging(Conformance):
    """`purge()` removes a key from the present, the history and every snapshot."""

    FEATURE: ClassVar[str] = "purging"

    def test_its_bytes_are_gone(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=100)
        lake.store_batch({"key": f"private/{n}", "value": f"{n} {LARGE}"} for n in range(5))
        lake.store("private/large", LARGE)
        lake.store("other", "0 " + LARGE)
        lake.store("private/1", "replaced")
        objects = lake._objects
        assert objects is not None
        preview = lake.purge(prefix="private/", dry_run=True)
        assert len(lake) == 7
        report = lake.purge(prefix="private/")
        assert preview.entries == report.entries == 6
        assert preview.bytes == report.bytes > 4 * len(LARGE)
        assert dict(lake) == {"other": "0 " + LARGE}
        assert lake.stats().objects == 1
        left = [file.path for folder in ("objects", "packs") for file in objects.list(folder)]
        assert len(left) == 1
        assert lake.purge(prefix="private/").entries == 0
        assert not lake.verify().problems

    @needs("versions")
    def test_a_key_is_gone_everywhere(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=100)
        for value in ("one", LARGE):
            lake.store("private/a", value, {"n": 1})
            lake.store("other", value)
            lake.create_snapshot(value[:3])
        lake.delete("private/a")
        preview = lake.purge(prefix="private/", dry_run=True)
        assert list(lake.at("one")) == ["other", "private/a"]
        report = lake.purge(prefix="private/")
        assert (preview.versions, preview.snapshots) == (report.versions, report.snapshots)
        assert set(report.snapshots) == {"one", "lar"}
        for name in ("one", "lar"):
            assert list(lake.at(name)) == ["other"]
        assert lake.at("lar")["other"] == LARGE
        assert lake["other"] == LARGE
        assert not lake.history("private/a")
        assert [entry.key for entry in lake.at("one").list(metadata_filter={"n": 1})] == []
        assert lake.purge("private/a").entries == 0
        assert not lake.verify().problems


class Verifying(Conformance):
    """`verify()` finds damage, and names the keys that have it."""

    FEATURE: ClassVar[str] = "verification"

    def test_a_file_that_is_gone_is_found(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=100)
        entry = lake.store("lost", LARGE)
        lake.store("inline", 1)
        assert not lake.verify().problems
        assert entry.storage_uri is not None
        objects = lake._objects
        assert objects is not None
        objects.delete([file.path for file in objects.list("objects")])
        (problem,) = lake.verify().problems
        assert "lost" in str(problem)
        assert entry.content_hash in str(problem)
        assert lake["inline"] == 1
