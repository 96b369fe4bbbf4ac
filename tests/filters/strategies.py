"""Random metadata and filters over a small vocabulary, so that they meet often."""

from __future__ import annotations

import math

from hypothesis import strategies as st

KEYS = ["a", "b", "", "a.b", "$x", "a\\", "k" * 120, "é" * 99]
EDGE_NUMBERS = [
    0, 0.0, -0.0, 1, 1.0, -1, -1.5, 2**53, 2**53 + 1, float(2**53), 2**64, -(2**64), 10**400,
    -(10**400), 10**400 + 1, 1e308, 5e-324, -5e-324, 1.7976931348623157e308,
]  # fmt: skip
EDGE_TEXTS = [
    "",
    "1",
    "a",
    "ab",
    "é",
    "x" * 63 + "é",
    "x" * 64,
    "x" * 65,
    "x" * 64 + "y",
    "\U0001f600",
]

numbers = (
    st.sampled_from(EDGE_NUMBERS)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False).filter(math.isfinite)
)
texts = st.sampled_from(EDGE_TEXTS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3
)
scalars = st.none() | st.booleans() | numbers | texts
keys = st.sampled_from(KEYS)


def _containers(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)


values = st.recursive(scalars, _containers, max_leaves=8)
crowds = st.integers(30, 70).map(lambda n: list(range(n)))
crowded_objects = st.integers(50, 70).map(lambda n: {str(i): i for i in range(n)})
metadata = st.dictionaries(keys, values | crowds | crowded_objects, max_size=5)


def escape(key: str) -> str:
    """A key as a filter writes it, by hand, apart from the code under test."""
    return "".join("\\" + c if c in ".\\$" else c for c in key)


paths = st.lists(keys, min_size=1, max_size=3).map(lambda parts: ".".join(map(escape, parts)))


def has_dollar(value: object) -> bool:
    if isinstance(value, list):
        return any(map(has_dollar, value))
    if isinstance(value, dict):
        return any(k.startswith("$") or has_dollar(v) for k, v in value.items())
    return False


bare = values.filter(lambda value: not has_dollar(value))


def _operators(operands: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    many = st.lists(operands, max_size=4) | crowds
    ordered = numbers | texts
    simple = st.fixed_dictionaries(
        {},
        optional={
            "$eq": operands, "$ne": operands, "$gt": ordered, "$gte": ordered, "$lt": ordered,
            "$lte": ordered, "$in": many, "$nin": many, "$exists": st.booleans(),
            "$contains": operands,
        },
    ).filter(bool)  # fmt: skip
    # All ten at once match nothing: keep one or two, so that filters hold often enough.
    few = simple.flatmap(
        lambda found: st.lists(
            st.sampled_from(sorted(found)), min_size=1, max_size=2, unique=True
        ).map(lambda names: {name: found[name] for name in names})
    )
    return few | few.map(lambda inner: {"$not": inner})


@st.composite
def _fields(draw: st.DrawFn) -> dict[str, object]:
    return draw(st.dictionaries(paths, _operators(values) | bare, max_size=2))


def _joined(inner: st.SearchStrategy[dict[str, object]]) -> st.SearchStrategy[dict[str, object]]:
    branches = st.lists(inner, min_size=1, max_size=3)
    return (
        branches.map(lambda found: {"$and": found})
        | branches.map(lambda found: {"$or": found})
        | inner.map(lambda found: {"$not": found})
    )


filters = st.recursive(_fields(), _joined, max_leaves=4)


def _places(value: object, path: str) -> list[tuple[str, object]]:
    """Every path from here on, with what is there."""
    found = [(path, value)]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _places(inner, f"{path}.{escape(key)}")
    return found


@st.composite
def meetings(draw: st.DrawFn) -> tuple[dict[str, object], dict[str, object]]:
    """Metadata with a filter made from what it holds, so that the filter mostly matches."""
    data = draw(metadata.filter(bool))
    places = [place for key in data for place in _places(data[key], escape(key))]

    def condition() -> dict[str, object]:
        path, value = draw(st.sampled_from(places))
        operators: list[object] = [
            {"$eq": value},
            {"$in": [draw(scalars), value]},
            {"$exists": True},
        ]
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            bound = draw(numbers if not isinstance(value, str) else texts)
            operators += [{"$gte": value}, {"$lte": value}, {"$gte": value, "$lte": value}]
            operators += [{"$gt": bound}, {"$lt": bound}]
        if isinstance(value, str):
            operators.append({"$contains": value[draw(st.integers(0, 3)) :][:3]})
        if isinstance(value, list) and value:
            operators.append({"$contains": draw(st.sampled_from(value))})
        return {path: draw(st.sampled_from(operators))}

    shape = draw(st.sampled_from(["one", "and", "or"]))
    if shape == "one":
        return data, condition()
    return data, {f"${shape}": [condition() for _ in range(draw(st.integers(1, 3)))]}
