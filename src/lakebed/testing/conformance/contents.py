"""Equal contents are kept once, inline or in the storage, and outlive the lake that wrote them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from lakebed.errors import ConflictError, LakebedError
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, needs, same
from lakebed.testing.conformance.values import VALUES


class Contents(Conformance):
    """Content addressing and inlining."""

    FEATURE: ClassVar[str] = "contents"

    def test_the_same_bytes_exist_once(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=100)
        for value in ("small", "large" * 1000):
            first = lake.store(f"{value[:5]}/1", value)
            second = lake.store(f"{value[:5]}/2", value, {"other": "metadata"})
            assert (first.deduplicated, second.deduplicated) == (False, True)
            assert second.created is True
            assert second.content_hash == first.content_hash
            assert second.storage_uri == first.storage_uri
        stats = lake.stats()
        assert (stats.entries, stats.objects) == (4, 2)

    def test_equal_json_is_the_same_content(self, lake: Lake) -> None:
        first = lake.store("a", {"x": [1, 2], "y": None})
        second = lake.store("b", {"y": None, "x": (1, 2)})
        assert first.content_hash == second.content_hash
        assert lake.stats().objects == 1

    @pytest.mark.parametrize("threshold", [0, 1_000_000])
    def test_a_format_is_part_of_the_content(self, opening: OpenLake, threshold: int) -> None:
        lake = opening(inline_threshold=threshold)
        pairs = [("text", b'"text"'), ({}, b"{}"), (None, b"null"), (1, b"1")]
        for number, pair in enumerate(pairs):
            for order, value in ((pair, "json first"), (pair[::-1], "bytes first")):
                del value
                for side, content in enumerate(order):
                    lake.store(f"{number}/{side}", content)
                assert same([lake[f"{number}/{side}"] for side in (0, 1)], list(order))
        lake.store("a", "text")
        changed = lake.store("a", b'"text"')
        assert changed.changed is True
        assert same(lake["a"], b'"text"')

    def test_inlining(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=10)
        at, above = lake.store("at", b"x" * 10), lake.store("above", b"x" * 11)
        assert (at.inlined, at.storage_uri) == (True, None)
        assert above.inlined is False
        assert above.storage_uri is not None
        stats = lake.stats()
        assert (stats.objects, stats.object_bytes) == (2, 21)
        assert (stats.inline_objects, stats.inline_bytes) == (1, 10)

    def test_objects_are_never_overwritten(self, opening: OpenLake) -> None:
        lake = opening(inline_threshold=0)
        entries = [lake.store("a", value) for value in ("one", "two", "one")]
        assert entries[0].storage_uri != entries[1].storage_uri
        assert [entry.value for entry in entries] == ["one", "two", "one"]
        assert lake["a"] == "one"

    def test_old_entries_still_read_their_value(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=5)
        lake.store("a", "a large value")
        lake.store("b", "b")
        before = [lake.entry("a"), lake.entry("b")]
        clock.advance(1)
        lake.store("a", "another large value")
        lake.delete("b")
        assert [entry.value for entry in before if entry] == ["a large value", "b"]


def count_together(lakes: Sequence[Lake], each: int) -> None:
    """Run a thread for each lake. Each increments the same number with `if_match`, and stores
    entries of its own."""
    lakes[0].store("count", 0)
    start = threading.Barrier(len(lakes))

    def work(number: int) -> None:
        lake = lakes[number]
        start.wait()
        for turn in range(each):
            while True:
                entry = lake.entry("count")
                assert entry is not None
                try:
                    lake.store("count", entry.value + 1, if_match=entry.content_hash)
                    break
                except ConflictError:
                    continue
            lake.store_batch({"key": f"{number}/{turn}/{n}", "value": n} for n in range(3))

    with ThreadPoolExecutor(len(lakes)) as pool:
        list(pool.map(work, range(len(lakes))))
    for lake in lakes:
        assert lake["count"] == len(lakes) * each
        assert len(lake) == 1 + len(lakes) * each * 3
    versions = [entry.version for entry in lakes[0].list()]
    assert len(set(versions)) == len(versions)


class Together(Conformance):
    """Threads that use one lake at the same time."""

    FEATURE: ClassVar[str] = "threads"

    def test_threads_lose_nothing(self, lake: Lake) -> None:
        count_together([lake] * 4, 5)
        assert not lake.verify().problems


class Reopening(Conformance):
    """A lake outlives the object that opened it."""

    FEATURE: ClassVar[str] = "reopening"

    def test_all_is_there(self, opening: OpenLake, clock: FakeClock) -> None:
        lake = opening(inline_threshold=100)
        for number, value in enumerate(VALUES):
            lake.store(f"v/{number:03}", value, {"n": number}, ttl=60 + number)
        lake.delete("v/000")
        before, stats = list(map(dict, lake.list())), lake.stats()
        lake.close()
        lake = opening()
        assert list(map(dict, lake.list())) == before
        assert lake.stats() == stats
        assert all(same(e.value, VALUES[e.metadata["n"]]) for e in lake.list())
        newest = max(e.version for e in lake.list())
        assert lake.store("new", 1).version > newest
        clock.advance(80)
        assert list(lake) == ["new", *(f"v/{n:03}" for n in range(21, len(VALUES)))]

    def test_two_at_once(self, opening: OpenLake) -> None:
        one, two = opening(), opening()
        first = one.store("a", 1)
        assert two["a"] == 1
        second = two.store("a", 2, if_match=first.content_hash)
        assert second.version > first.version
        assert one["a"] == 2
        with one.transaction() as tx:
            tx.store("b", 1, if_absent=True)
        assert two.delete("b") is True
        assert list(one) == ["a"]

    def test_two_clients_lose_nothing(self, opening: OpenLake) -> None:
        count_together([opening(), opening()], 8)

    @needs("versions", "purge")
    def test_one_client_cleans_while_another_reads(
        self, opening: OpenLake, clock: FakeClock
    ) -> None:
        one, two = opening(inline_threshold=100), opening(inline_threshold=100)
        one.store("a", "a large value" * 20)
        one.store("b", "b large value" * 20)
        held = two.entry("a")
        two.create_snapshot("s")
        one.delete("b")
        one.purge("a")
        clock.advance(100_000)
        one.maintain()
        assert two.entry("a") is None
        assert list(two.at("s")) == ["b"]
        assert two.at("s")["b"] == "b large value" * 20
        assert held is not None
        with pytest.raises(LakebedError, match="'a'"):
            held.value  # noqa: B018
        assert not two.verify().problems
