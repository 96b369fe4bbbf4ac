"""A segment without some documents is the segment that is built of the others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lakebed.search.building import Document, SegmentBuilder
from lakebed.search.segment import GONE, NEVER, Segment
from lakebed.search.selecting import select

WORDS = ["one", "two", "three", "four", "five"]

documents = st.lists(
    st.builds(
        lambda key, text, many, metadata, speaker, end: (key, text * many, metadata, speaker, end),
        st.sampled_from(["a/1", "a/2", "b", "b/x/1", "é"]),
        st.lists(st.sampled_from(WORDS), max_size=6).map(lambda words: " ".join(words) + " "),
        st.sampled_from([1, 2, 300]),  # of a word that is there more often than a byte counts
        st.dictionaries(st.sampled_from(["n", "kind"]), st.integers(0, 3) | st.text(max_size=3)),
        st.sampled_from(["", "Ada", "Bob"]),
        st.sampled_from([None, 50, GONE]),
    ),
    min_size=1,
    max_size=16,
)


def built(some: list[Document]) -> Segment:
    builder = SegmentBuilder()
    builder.add(some)
    return Segment(memoryview(builder.data()))


@given(documents, st.data())
def test_selecting_is_building(
    given_documents: list[tuple[str, str, dict[str, object], str, int | None]], data: st.DataObject
) -> None:
    some = sorted(
        (
            Document(key, version, end, None, b"x" * 32, metadata, text, speaker)
            for version, (key, text, metadata, speaker, end) in enumerate(given_documents, 1)
        ),
        key=lambda document: document.key.encode(),
    )
    kept = [data.draw(st.booleans()) for _ in some]
    whole = built(some)
    selected = Segment(memoryview(select(whole, np.array(kept), whole.ends)))
    expected = built([document for document, stays in zip(some, kept, strict=True) if stays])
    assert selected.header == expected.header
    assert selected.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert selected.arrays[name].dtype == array.dtype, name
        assert selected.arrays[name].tolist() == array.tolist(), name


def test_the_ends_are_those_known_now() -> None:
    whole = built([Document("k", 1, None, None, b"x" * 32, {}, "word")])
    assert whole.ends.tolist() == [NEVER]
    selected = select(whole, np.array([True]), np.array([7]))
    assert Segment(memoryview(selected)).ends.tolist() == [7]
