"""What copies from and to other stores are tested with."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from lakebed.lake.lake import Lake

FEW = settings(max_examples=300 if os.environ.get("LAKEBED_SOAK") == "1" else 6)
SOON = datetime(2040, 1, 1, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
keys = st.one_of(
    st.sampled_from(["..", "../../etc/passwd", "a/../b", "CON", "a", "A", ".", "/", "~", "x.json"]),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1),
).filter(lambda key: len(key.encode()) <= 1024)
metadata = st.just({}) | st.dictionaries(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=5),
    st.integers() | st.sampled_from(["x", '{"a":1}', "[]", ""]),
    max_size=2,
)
expiries = st.none() | st.integers(0, 10**12).map(lambda n: SOON + timedelta(microseconds=n))


def told(lake: Lake) -> dict[str, Any]:
    """What a lake holds, as far as two copies must agree. Types differ too: 1, 1.0 and True."""
    return {
        entry.key: (repr(entry.value), entry.format, entry.metadata, entry.expires_at)
        for entry in lake.list()
    }


def times(lake: Lake) -> dict[str, tuple[datetime, datetime]]:
    """When its entries were made."""
    return {entry.key: (entry.created_at, entry.updated_at) for entry in lake.list()}
