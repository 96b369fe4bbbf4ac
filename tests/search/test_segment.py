"""Finding documents of a segment by key and by version."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lakebed.model import LAST_KEY
from lakebed.search.segment import NEVER, thread_of
from tests.search.strategies import document, key_lists, keys, segment


@given(key_lists, keys, keys)
def test_keys_are_in_the_order_of_their_bytes(found: list[str], low: str, high: str) -> None:
    built = segment([document(n + 1, key, "") for n, key in enumerate(found)])
    ordered = sorted(found, key=str.encode)
    assert [built.key(n) for n in range(len(built))] == ordered
    assert [found[int(version) - 1] for version in built.versions] == ordered
    first, end = built.key_range(low, high)
    inside = [key for key in ordered if low.encode() <= key.encode() < high.encode()]
    assert ordered[first:end] == inside
    assert built.key_range("", LAST_KEY) == (0, len(found))


@given(st.sets(st.integers(1, 40)), st.lists(st.integers(-1, 45)))
def test_versions_are_found(versions: set[int], asked: list[int]) -> None:
    built = segment([document(v, f"{v * 7919 % 41:02}", "") for v in versions])
    places, documents = built.find_versions(np.array(asked, np.int64))
    assert [asked[place] for place in places] == [v for v in asked if v in versions]
    assert built.versions[documents].tolist() == [v for v in asked if v in versions]


def test_ends_and_expiries() -> None:
    built = segment(
        [
            document(1, "a", "", end=5),
            document(2, "b", "", expires_at=7),
            document(3, "c", "", end=0, expires_at=2**62),
        ]
    )
    assert built.ends.tolist() == [5, NEVER, 0]
    assert built.expiries.tolist() == [NEVER, 7, 2**62]
    assert built.first_expiry == 7


def test_conversations() -> None:
    found = [thread_of(key) for key in ("a/b/c", "a/b/", "a", "/a", "")]
    assert found == ["a/b/", "a/b/", "", "/", ""]
