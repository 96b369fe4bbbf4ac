"""The keys and values of the state machine. Keys are few and values repeat, so that calls meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KEYS = ["a", "a/b", "a/b/c", "b", "B", "é", "\ud7ff", "\U0010ffff", "long" * 256]
PREFIXES = ["", "a", "a/", "b", "\ud7ff", "\U0010ffff", "none"]

keys = st.sampled_from(KEYS)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)

values: st.SearchStrategy[Any] = (
    st.sampled_from(["x", b'"x"', None, {}, b"{}", "large" * 20, b"large" * 20, ["z"] * 50])
    | json_values
    | st.binary(max_size=80)
)

_leaves = st.sampled_from([None, True, 1, 1.0, 0, -1, 2**60, "", "x", "xy", [], [1, "x"], {"m": 1}])

metadata: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["n", "k", "a.b", ""]), _leaves, max_size=2
)

ttls = st.none() | st.sampled_from([1, 1_000_000, 2_000_000, 5_000_000])
"""Microseconds."""

_conditions = st.one_of(
    _leaves.map(lambda leaf: {"$eq": leaf}),
    st.sampled_from(
        [
            {"$gt": 0},
            {"$gte": "x"},
            {"$lt": 2**60},
            {"$lte": "x"},
            {"$ne": 1},
            {"$in": [1, "x", None]},
            {"$nin": [True]},
            {"$exists": True},
            {"$exists": False},
            {"$contains": "x"},
            {"$not": {"$gt": 0}},
        ]
    ),
)

_fields: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["n", "k", "a\\.b", "n.m", ""]), _conditions, max_size=2
)

filters: st.SearchStrategy[dict[str, Any]] = st.one_of(
    _fields,
    st.lists(_fields, min_size=1, max_size=2).map(lambda parts: {"$or": parts}),
    st.lists(_fields, min_size=1, max_size=2).map(lambda parts: {"$and": parts}),
    _fields.map(lambda part: {"$not": part}),
)
