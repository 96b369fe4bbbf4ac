"""What the text of metadata says about a filter before anybody parses it."""

from __future__ import annotations

import pytest

from lakebed.filters import Filter


@pytest.mark.parametrize(
    ("source", "fails"),
    [
        ({"kind": "note"}, ()),
        ({"kind": {"$ne": "note"}}, ('"kind":"note"',)),
        ({"$not": {"kind": "note"}}, ('"kind":"note"',)),
        ({"kind": {"$not": {"$eq": "note"}}}, ('"kind":"note"',)),
        ({"done": {"$ne": True}}, ('"done":true',)),
        ({"done": {"$ne": None}}, ('"done":null',)),
        ({"kind": {"$nin": ["a", "b", 1]}}, ('"kind":"a"', '"kind":"b"')),
        ({"kind": {"$exists": False}}, ('"kind":',)),
        ({"$not": {"kind": {"$exists": True}}}, ('"kind":',)),
        ({"$not": {"$not": {"kind": "note"}}}, ()),
        ({"a": {"$ne": "x"}, "b": {"$ne": "y"}}, ('"a":"x"', '"b":"y"')),
        ({"$not": {"a": "x", "b": "y"}}, ()),
        ({"$or": [{"a": {"$ne": "x"}}, {"b": {"$ne": "y"}}]}, ()),
        ({"$or": [{"a": {"$ne": "x"}}, {"a": {"$nin": ["x", "y"]}}]}, ('"a":"x"',)),
        ({"$not": {"$or": [{"a": "x"}, {"b": "y"}]}}, ('"a":"x"', '"b":"y"')),
        # Other spellings, the beginning of others, or not to be found in the text at all:
        ({"n": {"$ne": 1}}, ()),
        ({"n": {"$ne": [1]}}, ()),
        ({"a.b": {"$ne": "x"}}, ()),
        ({"a\\.b": {"$ne": "x"}}, ()),
        ({"": {"$ne": "x"}}, ()),
        ({"kind": {"$ne": 'a "quote"'}}, ()),
        ({"é": {"$exists": False}}, ()),
    ],
)
def test_marks_of_failing(source: dict[str, object], fails: tuple[str, ...]) -> None:
    assert Filter(source).fails == fails


def test_a_few_marks_will_do() -> None:
    condition = {"kind": {"$nin": [str(n) for n in range(50)]}}
    assert len(Filter(condition).fails) == 8
