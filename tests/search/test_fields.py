"""What a filter lets pass in a segment is what it lets pass one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lakebed.filters import Filter
from lakebed.search.building import SegmentBuilder
from lakebed.search.segment import Segment
from tests.filters import strategies as some
from tests.search.strategies import document, segment

documents = st.lists(some.metadata, max_size=8)


def check(built: Segment, found: dict[int, dict[str, Any]], wanted: Filter) -> None:
    for candidates in (np.ones(len(built), np.bool_), np.arange(len(built)) % 2 == 0):
        passing = built.fields.passing(wanted, candidates)
        assert passing.tolist() == [
            n
            for n in range(len(built))
            if candidates[n] and wanted.matches(found[int(built.versions[n])])
        ]
        assert built.fields.may_pass(wanted) or not len(passing)


@given(documents, st.lists(some.filters, min_size=1, max_size=3))
def test_a_filter_passes_what_it_matches(
    found: list[dict[str, Any]], filters: list[dict[str, Any]]
) -> None:
    built = segment([document(n, f"{n}", "", item) for n, item in enumerate(found)])
    for item in filters * 2:  # the second time, from what is remembered
        check(built, dict(enumerate(found)), Filter(item))


@given(documents, documents, some.filters, st.randoms(use_true_random=False))
def test_it_does_so_once_segments_are_merged(
    first: list[dict[str, Any]],
    second: list[dict[str, Any]],
    condition: dict[str, Any],
    random: Any,
) -> None:
    builder, everything = SegmentBuilder(), dict(enumerate([*first, *second]))
    for start, part in ((0, first), (len(first), second)):
        built = segment([document(start + n, f"{start + n}", "", d) for n, d in enumerate(part)])
        kept = np.array([random.random() < 0.7 for _ in part], np.bool_)
        builder.take(built, kept, built.ends)
    check(Segment(memoryview(builder.data())), everything, Filter(condition))


def test_metadata_with_ten_thousand_fields_and_large_integers() -> None:
    wide = {f"field{n}": n for n in range(10_000)}
    found = [wide, {"field7": 2**70}, {"field7": -(10**400)}, {"field7": 7.0}, {}]
    built = segment([document(n, f"{n}", "", item) for n, item in enumerate(found)])
    for condition in (
        {"field7": 7},
        {"field9999": 9999},
        {"field7": {"$gt": 2**65}},
        {"field7": 2**70},
        {"field7": {"$lt": -(2**100)}},
        {"field7": {"$exists": False}},
    ):
        check(built, dict(enumerate(found)), Filter(condition))
