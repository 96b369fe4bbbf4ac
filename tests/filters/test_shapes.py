"""Which shapes a filter looks at for what lacks a field."""

from __future__ import annotations

import pytest

from lakebed.filters import (
    OVERFLOW,
    by_shape,
    definition,
    index_terms,
    lacked,
    parse,
    shape,
    shape_term,
)

SHAPES = [("a",), ("a", "b"), ("b",), ("a", "b", "c"), ("c",)]


@pytest.mark.parametrize(
    ("source", "left_out"),
    [
        ({"a": {"$exists": False}}, [("a",), ("a", "b"), ("a", "b", "c")]),
        ({"$or": [{"a": {"$exists": False}}, {"b": {"$ne": 1}}]}, [("a", "b"), ("a", "b", "c")]),
        ({"$not": {"a": 1, "b": 1, "c": 1}}, [("a", "b", "c")]),
    ],
)
def test_what_has_all_fields_is_left_out(source, left_out):
    [alternative] = parse(source).narrow()
    ranges = by_shape(alternative, [definition(fields) for fields in SHAPES])
    assert not lacked(ranges)
    for fields in [*SHAPES, ("d",), ("a", "d")]:  # the last ones are not defined
        path, value = shape_term(fields)
        found = any(r.path == path and r.low <= value <= r.high for r in ranges)
        assert found is (fields not in left_out)


def test_definitions_that_exclude_nothing_give_no_ranges():
    [alternative] = parse({"d": {"$ne": 1}}).narrow()
    assert by_shape(alternative, [definition(fields) for fields in SHAPES]) == ()
    assert by_shape(alternative, []) == ()


def test_a_shape_has_the_paths_of_all_fields_and_no_elements():
    metadata = {"b": [1, {"x": 1}], "a": {"c.d": None, "": {}}, "": 1}
    assert shape(index_terms(metadata)) == ("", "a", "a.", r"a.c\.d", "b")
    assert shape(index_terms({})) is None
    assert shape([OVERFLOW]) is None


def test_a_long_shape_has_no_definition():
    assert definition(tuple(f"{n:0100}" for n in range(15))) is not None
    assert definition(tuple(f"{n:0100}" for n in range(25))) is None
