"""Metadata filters on listings. The catalog narrows, and the evaluator decides."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from lakebed import filters
from lakebed.errors import ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance

METADATA: list[dict[str, Any]] = [
    {},
    {"n": None},
    {"n": True},
    {"n": False},
    {"n": 1},
    {"n": 1.0},
    {"n": 0},
    {"n": -0.0},
    {"n": 2**53},
    {"n": 2**53 + 1},
    {"n": float(2**53)},
    {"n": 10**30},
    {"n": -(10**400)},
    {"n": 1e308},
    {"n": "1"},
    {"n": ""},
    {"n": "Ada"},
    {"n": "ada"},
    {"n": "\U0001f600"},
    {"n": "\uffff"},
    {"n": "x" * 3_000},
    {"n": "x" * 3_000 + "y"},
    {"n": []},
    {"n": [1, "1", None]},
    {"n": [[1]]},
    {"n": {}},
    {"n": {"m": 1}},
    {"n": {"m": {"o": "deep"}}, "k": "kind"},
    {"n.m": 2},
    {"n": {"m.o": 3}},
    {"": 1},
    {"k": "kind", "n": 1},
    {"k": ["kind", "other"], "n": 2},
]

FILTERS: list[dict[str, Any]] = [
    {},
    {"n": None},
    {"n": True},
    {"n": 1},
    {"n": 1.0},
    {"n": "1"},
    {"n": 0},
    {"n": 2**53 + 1},
    {"n": 10**30},
    {"n": "x" * 3_000},
    {"n": {"$eq": []}},
    {"n": [1.0, "1", None]},
    {"n": {"$eq": {"m": 1}}},
    {"n.m": 1},
    {"n.m.o": "deep"},
    {"n\\.m": 2},
    {"n.m\\.o": 3},
    {"": 1},
    {"n": {"$ne": 1}},
    {"n": {"$gt": 0}},
    {"n": {"$gte": 2**53, "$lt": 10**31}},
    {"n": {"$lt": 0}},
    {"n": {"$gt": ""}},
    {"n": {"$gte": "\uffff"}},
    {"n": {"$lte": "Z"}},
    {"n": {"$in": [1, "Ada", None]}},
    {"n": {"$in": []}},
    {"n": {"$nin": [1, None]}},
    {"n": {"$exists": True}},
    {"n": {"$exists": False}},
    {"n": {"$contains": 1}},
    {"n": {"$contains": "x"}},
    {"k": {"$contains": "kind"}},
    {"n": {"$not": {"$gt": 0}}},
    {"k": "kind", "n": 1},
    {"$and": [{"k": {"$exists": True}}, {"n": {"$gte": 1}}]},
    {"$or": [{"n": 1}, {"k": {"$contains": "other"}}]},
    {"$not": {"n": {"$exists": True}}},
    {"k": "no such kind"},
]

BAD: list[Any] = [
    {"n": {"$regex": "x"}},
    {"$nor": []},
    {"n": {"$gt": True}},
    {"n": {"$gt": [1]}},
    {"n": {"$in": 1}},
    {"n": {"$exists": 1}},
    {"$or": []},
    {"n": {"$gt": 1, "plain": 2}},
    {"n": float("nan")},
    {1: 2},
    "text",
    [],
]


def expected(lake: Lake, metadata_filter: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the keys that the evaluator finds, entry by entry."""
    matches = filters.Filter(metadata_filter).matches
    return [entry.key for entry in lake.list(prefix) if matches(entry.metadata)]


def listed(lake: Lake, metadata_filter: dict[str, Any], **options: Any) -> list[str]:
    """Return the keys that catalog and evaluator find together."""
    return [entry.key for entry in lake.list(metadata_filter=metadata_filter, **options)]


class Filters(Conformance):
    """The result of a filter is the evaluator's, whether or not the catalog narrows."""

    FEATURE: ClassVar[str] = "filters"

    @pytest.fixture
    def mixed(self, lake: Lake) -> Lake:
        """A lake with every kind of metadata under two prefixes."""
        with lake.transaction() as tx:
            for number, metadata in enumerate(METADATA):
                tx.store(f"a/{number:03}", number, metadata)
                tx.store(f"b/{number:03}", number, metadata)
        return lake

    def crowd(self, lake: Lake, number: int) -> None:
        """Add entries with equal metadata: more than a catalog reads without an index."""
        with lake.transaction() as tx:
            for n in range(number):
                tx.store(f"crowd/{n:05}", n % 9, {"n": n % 7, "k": "crowd"})

    @pytest.mark.parametrize("metadata_filter", FILTERS, ids=repr)
    def test_every_condition(self, mixed: Lake, metadata_filter: dict[str, Any]) -> None:
        wanted = expected(mixed, metadata_filter)
        assert listed(mixed, metadata_filter) == wanted
        of_b = [key for key in wanted if key.startswith("b/")]
        assert listed(mixed, metadata_filter, prefix="b/") == of_b
        assert listed(mixed, metadata_filter, limit=2) == wanted[:2]
        assert listed(mixed, metadata_filter, after="a/016") == [k for k in wanted if k > "a/016"]

    @pytest.mark.parametrize("number", [900, 1_500, 7_000])
    def test_among_many(self, mixed: Lake, number: int) -> None:
        self.crowd(mixed, number)
        with mixed.transaction() as tx:
            for n, metadata in enumerate(METADATA):
                tx.store(f"z/{n:03}", n, metadata)  # behind the crowd
        if number == 1_500:
            mixed.maintain()  # otherwise most entries may not be in an index yet
        all_metadata = {entry.key: entry.metadata for entry in mixed.list()}
        for metadata_filter in (*FILTERS, {"k": "crowd", "n": 3}, {"k": "crowd"}):
            matches = filters.Filter(metadata_filter).matches
            wanted = [key for key, metadata in all_metadata.items() if matches(metadata)]
            assert listed(mixed, metadata_filter) == wanted, metadata_filter
            behind = [key for key in wanted if key > "crowd/"]
            assert listed(mixed, metadata_filter, after="crowd/", limit=9) == behind[:9]
            for prefix in ("a/", "z/"):
                assert (
                    listed(mixed, metadata_filter, prefix=prefix, limit=3)
                    == [key for key in wanted if key.startswith(prefix)][:3]
                )

    def test_changes_after_the_index_was_filled(self, lake: Lake, clock: FakeClock) -> None:
        self.crowd(lake, 1_500)
        few = {"k": "rare"}
        assert listed(lake, few) == []
        lake.store("crowd/00003", 0, {"k": "rare"})
        lake.store("new", 0, {"k": "rare"}, ttl=10)
        assert listed(lake, few) == ["crowd/00003", "new"]
        assert "crowd/00003" not in listed(lake, {"k": "crowd"})
        lake.store("crowd/00003", 0, {"k": "crowd", "n": 3})
        assert listed(lake, few) == ["new"]
        assert "crowd/00003" in listed(lake, {"k": "crowd", "n": 3})
        clock.advance(10)
        assert listed(lake, few) == []
        lake.delete("crowd/00010")
        self.crowd(lake, 1_500)
        with lake.transaction() as tx:
            for n in range(1_400):
                tx.delete(f"crowd/{n:05}")
        for metadata_filter in ({"k": "crowd"}, {"n": {"$gte": 5}}, few):
            assert listed(lake, metadata_filter) == expected(lake, metadata_filter)
        lake.cleanup_expired()
        assert len(listed(lake, {"k": "crowd"})) == 100

    def test_the_filter_applies_before_the_limit(self, lake: Lake) -> None:
        self.crowd(lake, 1_200)
        lake.store("z", 1, {"k": "rare"})
        assert listed(lake, {"k": "rare"}, limit=1) == ["z"]
        assert listed(lake, {"n": 6}, limit=2, after="crowd/01000") == [
            "crowd/01007",
            "crowd/01014",
        ]

    @pytest.mark.parametrize("metadata_filter", BAD, ids=repr)
    def test_bad_filters(self, lake: Lake, metadata_filter: Any) -> None:
        with pytest.raises(ValidationError, match="filter"):
            lake.list(metadata_filter=metadata_filter)
