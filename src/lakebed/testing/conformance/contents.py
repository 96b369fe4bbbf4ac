"""The same bytes exist once, inline or in the lake, and outlive what wrote them."""

from __future__ import annotations

from typing import ClassVar

import pytest

from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, OpenLake, same
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
