"""Random documents, so small that they meet often, and segments of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from lakebed.search.building import Document, SegmentBuilder
from lakebed.search.ranking import Source, source_of
from lakebed.search.segment import Segment

WORDS = ["apple", "pear", "café", "東京都", "x", "Ǆ", "1984", "apples"]

texts = st.lists(
    st.sampled_from([*WORDS, " ", ".", "apple " * 300]) | st.text(max_size=5), max_size=8
).map(" ".join)
keys = st.sampled_from(["a/", "a/b/", "", "é/"]).flatmap(
    lambda room: st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=3
    ).map(lambda name: room + name)
)
key_lists = st.lists(keys, unique=True, max_size=12)


def document(
    version: int,
    key: str,
    text: str,
    metadata: dict[str, Any] | None = None,
    speaker: str = "",
    end: int | None = None,
    expires_at: int | None = None,
    names: frozenset[str] = frozenset(),
) -> Document:
    """A document whose version serves as its content too."""
    content = version.to_bytes(32, "little")
    return Document(
        key, version, end, expires_at, content, metadata or {}, text, speaker, names=names
    )


def segment(documents: Sequence[Document]) -> Segment:
    """The segment of some documents, taken in at once."""
    builder = SegmentBuilder()
    builder.add(documents)
    return Segment(memoryview(builder.data()))


def source(built: Segment) -> Source:
    """A segment all of which is visible."""
    return source_of(built, np.ones(len(built), np.bool_))
