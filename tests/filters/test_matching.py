"""What each operator means, by example."""

from __future__ import annotations

import enum

import pytest

from lakebed.filters import parse

BIG = 2**64


class Color(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("source", "metadata", "expected"),
    [
        # everything, several fields
        ({}, {}, True),
        ({}, {"a": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        # equality: numbers
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": 0.0}, {"a": -0.0}, True),
        ({"a": 2**53}, {"a": float(2**53)}, True),
        ({"a": 2**53 + 1}, {"a": float(2**53)}, False),
        ({"a": BIG + 1}, {"a": BIG + 1}, True),
        ({"a": BIG + 1}, {"a": BIG}, False),
        ({"a": 10**400}, {"a": 10**400 + 1}, False),
        ({"a": Color.RED}, {"a": 1}, True),
        # equality: types stay apart
        ({"a": True}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0}, {"a": False}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": "true"}, {"a": True}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": 0}, False),
        ({"a": ""}, {"a": None}, False),
        # equality: strings as they are
        ({"a": "é"}, {"a": "e\u0301"}, False),
        ({"a": "A"}, {"a": "a"}, False),
        ({"a": "a "}, {"a": "a"}, False),
        # deep equality
        ({"a": {}}, {"a": {}}, True),
        ({"a": {}}, {"a": {"b": 1}}, False),
        ({"a": {}}, {"a": []}, False),
        ({"a": {}}, {}, False),
        ({"a": []}, {"a": []}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1.0}}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, True),
        ({"a": {"b": None}}, {"a": {"c": None}}, False),
        ({"a": [1, 2]}, {"a": [1.0, 2]}, True),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": (1, 2)}, {"a": [1, 2]}, True),
        ({"a": [1]}, {"a": [True]}, False),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": True}]}}, False),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 1.0}]}}, True),
        ({"a": 1}, {"a": [1]}, False),
        ({"a": {"b.c": 1}}, {"a": {"b.c": 1}}, True),
        ({"a": {"$eq": {"$gt": 1}}}, {"a": {"$gt": 1}}, True),
        # $ne, $in, $nin
        ({"a": {"$ne": 1}}, {"a": 2}, True),
        ({"a": {"$ne": 1}}, {"a": 1.0}, False),
        ({"a": {"$ne": 1}}, {"a": True}, True),
        ({"a": {"$ne": 1}}, {}, True),
        ({"a": {"$ne": None}}, {}, True),
        ({"a.b": {"$ne": 1}}, {"a": "text"}, True),
        ({"a": {"$in": [1, "x", None]}}, {"a": 1.0}, True),
        ({"a": {"$in": [1, "x", None]}}, {"a": "x"}, True),
        ({"a": {"$in": [1, "x", None]}}, {"a": None}, True),
        ({"a": {"$in": [1, "x", None]}}, {"a": True}, False),
        ({"a": {"$in": [1, "x", None]}}, {}, False),
        ({"a": {"$in": [True]}}, {"a": 1}, False),
        ({"a": {"$in": [True]}}, {"a": True}, True),
        ({"a": {"$in": [[1], {"b": 2}]}}, {"a": {"b": 2.0}}, True),
        ({"a": {"$in": [1]}}, {"a": [1]}, False),
        ({"a": {"$in": []}}, {"a": 1}, False),
        ({"a": {"$nin": []}}, {"a": 1}, True),
        ({"a": {"$nin": [1, 2]}}, {"a": 2}, False),
        ({"a": {"$nin": [1, 2]}}, {"a": 3}, True),
        ({"a": {"$nin": [1, None]}}, {}, True),
        # order
        ({"a": {"$gt": 1}}, {"a": 2}, True),
        ({"a": {"$gt": 1}}, {"a": 1}, False),
        ({"a": {"$gte": 1}}, {"a": 1.0}, True),
        ({"a": {"$lt": 1}}, {"a": 0.5}, True),
        ({"a": {"$lte": 1}}, {"a": 1.5}, False),
        ({"a": {"$gt": 2**53}}, {"a": 2**53 + 1}, True),
        ({"a": {"$gt": float(2**53)}}, {"a": 2**53 + 1}, True),
        ({"a": {"$lt": 10**400}}, {"a": 10**400 - 1}, True),
        ({"a": {"$gt": 1e308}}, {"a": 10**400}, True),
        ({"a": {"$gt": 0}}, {"a": True}, False),
        ({"a": {"$gte": 0}}, {"a": False}, False),
        ({"a": {"$gt": 0}}, {"a": "1"}, False),
        ({"a": {"$gt": 0}}, {"a": None}, False),
        ({"a": {"$lt": 0}}, {}, False),
        ({"a": {"$gt": 0}}, {"a": [1]}, False),
        ({"a": {"$gt": "a"}}, {"a": "b"}, True),
        ({"a": {"$gt": "a"}}, {"a": 5}, False),
        ({"a": {"$gt": "Z"}}, {"a": "a"}, True),
        ({"a": {"$lt": "b"}}, {"a": "aé"}, True),
        # by code point: in UTF-16 the emoji would come first
        ({"a": {"$gt": "\uffee"}}, {"a": "\U0001f600"}, True),
        ({"a": {"$gte": 1, "$lt": 5}}, {"a": 3}, True),
        ({"a": {"$gte": 1, "$lt": 5}}, {"a": 5}, False),
        # $exists
        ({"a": {"$exists": True}}, {"a": None}, True),
        ({"a": {"$exists": True}}, {}, False),
        ({"a": {"$exists": False}}, {}, True),
        ({"a": {"$exists": False}}, {"a": None}, False),
        ({"a.b": {"$exists": False}}, {"a": {"c": 1}}, True),
        # $contains
        ({"a": {"$contains": "x"}}, {"a": ["x", "y"]}, True),
        ({"a": {"$contains": "x"}}, {"a": ["xy"]}, False),
        ({"a": {"$contains": "x"}}, {"a": "axb"}, True),
        ({"a": {"$contains": ""}}, {"a": "axb"}, True),
        ({"a": {"$contains": "X"}}, {"a": "axb"}, False),
        ({"a": {"$contains": 5}}, {"a": "5"}, False),
        ({"a": {"$contains": 5}}, {"a": [5.0]}, True),
        ({"a": {"$contains": 1}}, {"a": [True]}, False),
        ({"a": {"$contains": True}}, {"a": [1]}, False),
        ({"a": {"$contains": None}}, {"a": [None]}, True),
        ({"a": {"$contains": None}}, {}, False),
        ({"a": {"$contains": {"b": 1}}}, {"a": [{"b": 1.0}]}, True),
        ({"a": {"$contains": {"b": 1}}}, {"a": [{"b": 1, "c": 2}]}, False),
        ({"a": {"$contains": [1]}}, {"a": [[1], 2]}, True),
        ({"a": {"$contains": [1]}}, {"a": [1]}, False),
        ({"a": {"$contains": "b"}}, {"a": {"b": 1}}, False),
        ({"a": {"$contains": 1}}, {"a": 1}, False),
        # $not, $and, $or
        ({"a": {"$not": {"$gt": 5}}}, {"a": 3}, True),
        ({"a": {"$not": {"$gt": 5}}}, {"a": 7}, False),
        ({"a": {"$not": {"$gt": 5}}}, {"a": "text"}, True),
        ({"a": {"$not": {"$gt": 5}}}, {}, True),
        ({"a": {"$not": {"$gt": 1, "$lt": 5}}}, {"a": 7}, True),
        ({"a": {"$not": {"$not": {"$gt": 5}}}}, {"a": 7}, True),
        ({"a": {"$not": {"$gt": 5}, "$exists": True}}, {}, False),
        ({"$not": {"a": 1}}, {"a": 2}, True),
        ({"$not": {"a": 1}}, {}, True),
        ({"$not": {"a": 1, "b": 1}}, {"a": 1, "b": 2}, True),
        ({"$not": {}}, {}, False),
        ({"$and": [{"a": 1}, {"b": 2}]}, {"a": 1, "b": 2}, True),
        ({"$and": [{"a": 1}, {"b": 2}]}, {"a": 1}, False),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"b": 2}, True),
        ({"$or": [{"a": 1}, {"b": 2}]}, {"a": 2}, False),
        ({"c": 3, "$or": [{"a": 1}, {"b": 2}]}, {"a": 1}, False),
        ({"c": 3, "$or": [{"a": 1}, {"b": 2}]}, {"a": 1, "c": 3}, True),
        ({"$or": [{"$and": [{"a": 1}, {"$not": {"b": 1}}]}]}, {"a": 1}, True),
        # paths
        ({"a.b": 1}, {"a": {"b": 1}}, True),
        ({"a.b": 1}, {"a.b": 1}, False),
        ({r"a\.b": 1}, {"a.b": 1}, True),
        ({r"a\.b": 1}, {"a": {"b": 1}}, False),
        ({r"a\\.b": 1}, {"a\\": {"b": 1}}, True),
        ({r"a\\\.b": 1}, {"a\\.b": 1}, True),
        ({r"\$gt": 1}, {"$gt": 1}, True),
        ({"a.$gt": 1}, {"a": {"$gt": 1}}, True),
        ({r"a.\$gt": 1}, {"a": {"$gt": 1}}, True),
        ({"": 1}, {"": 1}, True),
        ({"a.": 1}, {"a": {"": 1}}, True),
        ({".": 1}, {"": {"": 1}}, True),
        ({"a.b": 1}, {"a": [{"b": 1}]}, False),
        ({"a.0": 1}, {"a": [1]}, False),
        ({"a.0": 1}, {"a": {"0": 1}}, True),
        ({"a.length": 1}, {"a": "x"}, False),
        ({"a'\"`b": 1}, {"a'\"`b": 1}, True),
        ({"a b.ü": 1}, {"a b": {"ü": 1}}, True),
    ],
)
def test_meaning(source, metadata, expected):
    assert parse(source).matches(metadata) is expected


def test_no_filter_stays_none():
    assert parse(None) is None


def test_a_filter_keeps_nothing_of_what_the_caller_may_change():
    source = {"a": {"b": [1]}, "c": {"$in": [1]}}
    compiled = parse(source)
    source["a"]["b"].append(2)
    source["c"]["$in"].clear()
    assert compiled.matches({"a": {"b": [1]}, "c": 1})


def test_tuples_in_metadata_count_as_lists():
    assert parse({"a": [1, 2], "b": {"$contains": 3}}).matches({"a": (1, 2), "b": (3,)})
