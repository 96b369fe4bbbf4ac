"""Malformed filters: each is refused when parsed, with where it is wrong and what was expected."""

from __future__ import annotations

import datetime
import math
import uuid

import pytest

from lakebed.errors import ValidationError
from lakebed.filters import parse

NOW = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def nested(depth: int) -> dict[str, object]:
    found: dict[str, object] = {"a": 1}
    for _ in range(depth):
        found = {"$not": found}
    return found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "metadata filter: expected an object of conditions, not a list"),
        ("a", "metadata filter: expected an object of conditions, not a string"),
        ({1: 2}, "metadata filter: a field name must be a string, not a number"),
        ({None: 2}, "metadata filter: a field name must be a string, not null"),
        ({"$gt": 1}, '$gt: $gt needs a field, as in {"field": {"$gt": …}}'),
        ({"$eq": {"a": 1}}, "$eq: $eq needs a field"),
        ({"$regex": "x"}, '$regex: unknown operator "$regex": expected one of $eq, $ne, $gt,'),
        ({"$regex": "x"}, r'(write "\$regex" for a field of that name)'),
        ({"a": {"$regex": "x"}}, 'a.$regex: unknown operator "$regex"'),
        ({"a": {"$GT": 1}}, 'a.$GT: unknown operator "$GT"'),
        ({"a": {"$": 1}}, 'a.$: unknown operator "$"'),
        ({"a": {"$gt": 1, "b": 2}}, "a.b: operators and plain fields cannot be in the same object"),
        ({"a": {"b": 2, "$gt": 1}}, "a.b: operators and plain fields cannot be in the same object"),
        ({"a": {"$gt": 1, 5: 2}}, "a: a field name must be a string, not a number"),
        ({"a": {"$or": [{"b": 1}]}}, "a.$or: $or takes whole filters, so it cannot be inside"),
        ({"a": {"$gt": [1]}}, "a.$gt: $gt takes a number or a string, not a list"),
        ({"a": {"$gte": True}}, "a.$gte: $gte takes a number or a string, not a boolean"),
        ({"a": {"$lt": None}}, "a.$lt: $lt takes a number or a string, not null"),
        ({"a": {"$lte": {}}}, "a.$lte: $lte takes a number or a string, not an object"),
        ({"a": {"$gt": NOW}}, "a.$gt: $gt takes a number or a string, not a Python datetime"),
        ({"a": {"$gt": math.nan}}, "a.$gt: expected a finite number, not nan"),
        ({"a": {"$gt": "\ud800"}}, "a.$gt: must not contain a lone surrogate"),
        ({"a": {"$in": "abc"}}, "a.$in: $in takes a list of values, not a string"),
        ({"a": {"$in": {1}}}, "a.$in: $in takes a list of values, not a Python set"),
        ({"a": {"$nin": None}}, "a.$nin: $nin takes a list of values, not null"),
        ({"a": {"$in": [1, math.inf]}}, "a.$in[1]: expected a finite number, not inf"),
        ({"a": {"$in": [NOW]}}, "a.$in[0]: expected a string, number, boolean, null, list or"),
        ({"a": {"$exists": 1}}, "a.$exists: $exists takes true or false, not a number"),
        ({"a": {"$exists": None}}, "a.$exists: $exists takes true or false, not null"),
        ({"a": {"$contains": b"x"}}, "a.$contains: expected a string, number, boolean, null, list"),
        ({"a": {"$ne": uuid.UUID(int=0)}}, "a.$ne: expected a string, number, boolean, null, list"),
        ({"a": math.nan}, "a: expected a finite number, not nan"),
        ({"a": -math.inf}, "a: expected a finite number, not -inf"),
        ({"a": NOW}, "object, not a Python datetime"),
        (
            {"a": [1, {"b": {2}}]},
            "a[1].b: expected a string, number, boolean, null, list or",
        ),
        ({"a": {"b": {3: 1}}}, "a.b: a field name must be a string, not a number"),
        ({"a": {1: 1}}, "a: a field name must be a string, not a number"),
        ({"a": "x\0"}, "a: must not contain a NUL character, which metadata cannot"),
        ({"\0": 1}, "a NUL character, which metadata cannot hold"),
        ({"a": {"b\0": 1}}, "a NUL character, which metadata cannot hold"),
        ({"\udfff": 1}, "a lone surrogate"),
        ({"a": {"b": {"$gt": 1}}}, 'a: "$gt" is inside an object or list that is compared as a'),
        ({"a": [{"$gt": 1}]}, 'a: "$gt" is inside an object or list that is compared as a'),
        (
            {"a": {"$not": 5}},
            "a.$not: $not under a field takes an object of operators, not a n",
        ),
        (
            {"a": {"$not": {}}},
            "$not under a field takes an object of operators, not a plain object",
        ),
        ({"a": {"$not": {"b": 1}}}, "takes an object of operators, not a plain object"),
        ({"a": {"$not": {"$gt": []}}}, "a.$not.$gt: $gt takes a number or a string, not a list"),
        ({"$and": {"a": 1}}, "$and: $and takes a non-empty list of filters, not an object"),
        ({"$and": []}, "$and: $and takes a non-empty list of filters, not an empty one"),
        ({"$or": []}, "$or: $or takes a non-empty list of filters, not an empty one"),
        ({"$or": [1]}, "$or[0]: expected an object of conditions, not a number"),
        ({"$or": [{}, {"a": {"$gt": []}}]}, "$or[1].a.$gt: $gt takes a number or a string"),
        ({"$not": [{"a": 1}]}, "$not: expected an object of conditions, not a list"),
        ({r"a\b": 1}, "a dot, a backslash or a $ must follow a backslash"),
        ({"a\\": 1}, "a dot, a backslash or a $ must follow a backslash"),
    ],
)
def test_refused(source, message):
    with pytest.raises(ValidationError) as caught:
        parse(source)
    assert str(caught.value).startswith("metadata filter: ")
    assert message in str(caught.value)


def test_huge_numbers_and_private_texts_do_not_enter_messages():
    with pytest.raises(ValidationError) as caught:
        parse({"a": {"$in": 10**5000}})
    assert "$in takes a list of values, not a number" in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        parse({"a": {"$in": "secret"}})
    assert "secret" not in str(caught.value)


def test_depth_has_a_limit():
    assert parse(nested(60)).matches({"a": 1})
    with pytest.raises(ValidationError, match="objects and lists nest deeper than 64"):
        parse(nested(70))
    operand: list[object] = []
    operand.append(operand)
    for source in ({"a": operand}, {"a": {"$eq": operand}}, {"a": {"$in": operand}}):
        with pytest.raises(ValidationError, match="objects and lists nest deeper than 64"):
            parse(source)
