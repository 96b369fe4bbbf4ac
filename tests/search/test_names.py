"""Field names in segments, however the documents came together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lakebed.search.building import Document, SegmentBuilder
from lakebed.search.segment import Segment
from lakebed.search.selecting import select
from lakebed.search.words import name_hash, word_hash
from tests.search.strategies import document, segment

NAMES = ["tea", "cups", "tea_cup", "zoé"]
TOKENS = ["tea", "cup", "zoe"]


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    count = draw(st.integers(1, 12))
    order = draw(st.permutations(range(count)) | st.just(list(range(count))))
    return [
        document(
            n + 1,
            f"{order[n]:02}",
            draw(st.sampled_from(["", "tea", "zoé tea tea"])),
            names=frozenset(draw(st.sets(st.sampled_from(NAMES)))),
        )
        for n in range(count)
    ]


def postings(built: Segment) -> dict[tuple[str, bool], list[tuple[int, float]]]:
    """The documents of each token, as text and as name, and how often."""
    asked = [(token, named) for token in TOKENS for named in (False, True)]
    hashes = [(name_hash if named else word_hash)(token) for token, named in asked]
    return {
        pair: list(
            zip(
                built.words.documents[start:end].tolist(),
                built.words.frequencies(start, end).tolist(),
                strict=True,
            )
        )
        for pair, (start, end) in zip(
            asked, built.words.find(np.array(hashes, np.uint64)), strict=True
        )
    }


@given(documents(), st.lists(st.booleans(), min_size=3, max_size=3))
def test_parts_added_or_taken_make_what_all_at_once_make(
    found: list[Document], taken: list[bool]
) -> None:
    whole = segment(found)
    builder = SegmentBuilder()
    for part, takes in enumerate(taken):
        some = found[part * 4 : part * 4 + 4]
        if takes:
            other = segment(some)
            builder.take(other, np.ones(len(other), np.bool_), other.ends)
        else:
            builder.add(some)
    built = Segment(memoryview(builder.data()))
    assert postings(built) == postings(whole)
    assert built.lengths.tolist() == whole.lengths.tolist()
    for (token, named), here in postings(whole).items():
        assert [n for n, _ in here] == sorted(n for n, _ in here)
        if named:
            having = {d.key for d in found if any(token in n.replace("é", "e") for n in d.names)}
            assert {whole.key(n) for n, _ in here} == having
            assert {count for _, count in here} <= {1.0}


@given(documents())
def test_what_was_selected_has_no_other_names(found: list[Document]) -> None:
    whole = segment(found)
    kept = np.arange(len(whole)) % 2 == 0
    rest = Segment(memoryview(select(whole, kept, whole.ends)))
    keys = {whole.key(n) for n in np.flatnonzero(kept).tolist()}
    assert postings(rest) == postings(segment([d for d in found if d.key in keys]))
