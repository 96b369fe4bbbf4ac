"""What the index holds, and where filters look in it."""

from __future__ import annotations

import pytest

from lakebed.filters import ABSENT, OVERFLOW, Range, index_terms, parse


def candidates(source: dict[str, object], *entries: dict[str, object]) -> list[int]:
    """The positions of the entries that every alternative finds, apart from evaluation."""
    found = []
    for position, metadata in enumerate(entries):
        terms = index_terms(metadata)
        lacking = {r.path for a in parse(source).narrow() for r in a} - {path for path, _ in terms}
        terms += [(path, ABSENT) for path in lacking]
        if OVERFLOW in terms or all(
            any(p == r.path and r.low <= v <= r.high for p, v in terms for r in alternative)
            for alternative in parse(source).narrow()
        ):
            found.append(position)
    return found


def test_terms_of_an_entry():
    terms = index_terms({"s": "ab", "n": None, "t": True, "o": {"x.y": 1}, "l": ["é", "é", 0]})
    assert [path for path, _ in terms] == ["s", "n", "t", "o", r"o.x\.y", "l", r"l\[]", r"l\[]"]
    values = dict(terms)
    assert values["s"] == b"\x30ab"
    assert values[r"o.x\.y"] == b"\x21" + bytes.fromhex("3ff0000000000000")


def test_equal_numbers_have_equal_terms():
    assert index_terms({"a": 1}) == index_terms({"a": 1.0})
    assert index_terms({"a": 0.0}) == index_terms({"a": -0.0})
    assert index_terms({"a": True}) != index_terms({"a": 1})


def test_no_key_can_pose_as_another_path():
    shapes = [{"a": {"b": 1}}, {"a.b": 1}, {"a": [1]}, {"a\\[]": 1}, {"a[]": 1}, {"a\\": {"b": 1}}]
    places = [index_terms(shape)[-1][0] for shape in shapes]
    assert len(set(places)) == len(shapes)


def test_a_long_path_becomes_a_hash():
    metadata = {"k" * 300: {"é" * 150: [1]}}
    terms = index_terms(metadata)
    assert len({path for path, _ in terms}) == 3
    assert all(len(path.encode()) <= 200 for path, _ in terms)
    assert candidates({"k" * 300 + "." + "é" * 150: {"$contains": 1}}, metadata) == [0]
    assert candidates({"k" * 301: 1}, metadata) == []


def test_too_many_fields_overflow():
    assert len(index_terms({str(i): i for i in range(64)})) == 64
    assert index_terms({str(i): i for i in range(65)}) == [OVERFLOW]
    assert index_terms({"a": {str(i): i for i in range(63)}, "b": 1}) == [OVERFLOW]
    assert index_terms({f"l{i}": list(range(20)) for i in range(10)}) == [OVERFLOW]


def test_a_long_list_does_not_hide_the_other_fields():
    crowd, other = {"kind": "a", "vector": list(range(1000))}, {"kind": "b", "vector": [5]}
    assert len(index_terms(crowd)) == 3
    assert candidates({"kind": "b"}, crowd, other) == [1]
    assert candidates({"vector": {"$contains": 5}}, crowd, other) == [0, 1]
    assert candidates({"vector": {"$contains": 6}}, crowd, other) == [0]
    assert candidates({"vector": list(range(1000))}, crowd, other) == [0]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"a": 1}, [0]),
        ({"a": {"$in": [1, "xyz", None]}}, [0, 3, 5]),
        ({"a": {"$gt": 1}}, [0, 1]),  # an end may be cut or clamped, so it stays included
        ({"a": {"$gt": 1.5, "$lt": 3}}, [1]),
        ({"$and": [{"a": {"$gt": 1.5}}, {"a": {"$lt": 3}}]}, [1]),
        ({"a": {"$lt": 0}}, [2]),
        ({"a": {"$gte": "x"}}, [3]),
        ({"a": {"$exists": True}}, list(range(9))),
        ({"a": True}, [4]),
        ({"a": None}, [5]),
        ({"a": [1, "t"]}, [6]),
        ({"a": {"b": 1}}, [7]),
        ({"a": {"b": 2}}, []),
        ({"a": {}}, [8]),
        ({"a": {"$eq": []}}, []),
        ({"a.b": {"$exists": True}}, [7]),
        ({"a": {"$contains": "t"}}, [3, 6]),  # any text may have the part
        ({"a": {"$contains": 1}}, [6]),
        ({"$or": [{"a": 1}, {"a.b": 1}]}, [0, 7]),
        ({"$or": [{"a": 1, "c": 1}, {"a": 2.5}]}, [0, 1]),
        ({"a": {"$in": []}}, []),
        ({"$and": [{"a": 1}, {"a": 2}]}, []),
        ({"a": {"$ne": 7}, "c": 1}, []),
    ],
)
def test_candidates(source, expected):
    entries = [1, 2.5, -3, "xyz", True, None, [1, "t"], {"b": 1}, {}]
    assert candidates(source, *({"a": value} for value in entries)) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"a": {"$ne": 1}}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$ne": "xyz"}}, [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$ne": None}}, [0, 1, 2, 3, 4, 6, 7, 8, 9]),
        ({"a": {"$ne": True}}, [0, 1, 2, 3, 5, 6, 7, 8, 9]),
        ({"a": {"$nin": [1, "xyz", None, True]}}, [1, 2, 6, 7, 8, 9]),
        ({"a": {"$nin": [1, 2.5, [1]]}}, [2, 3, 4, 5, 6, 7, 8, 9]),  # a list excludes nothing
        ({"a": {"$nin": []}}, list(range(10))),
        ({"a": {"$not": {"$in": [1, 2.5, -3]}}}, [3, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$exists": False}}, [9]),
        ({"a": {"$not": {"$exists": False}}}, list(range(9))),
        ({"a": {"$not": {"$exists": True}}}, [9]),
        ({"a": {"$not": {"$gt": 1}}}, [0, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$not": {"$gte": 1}}}, [0, 2, 3, 4, 5, 6, 7, 8, 9]),  # with its end
        ({"a": {"$not": {"$lt": 1}}}, [0, 1, 3, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$not": {"$lte": "a"}}}, list(range(10))),
        ({"a": {"$not": {"$lte": "z"}}}, [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$not": {"$gt": "a"}}}, [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$not": {"$gt": 0, "$lt": 2}}}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"a": {"$ne": 1, "$exists": True}}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"a": {"$ne": 1, "$lt": 5}}, [1, 2]),
        ({"$not": {"a": {"$ne": 1}}}, [0]),
        ({"$not": {"$not": {"a": 1}}}, [0]),
        ({"$not": {"$or": [{"a": 1}, {"a": "xyz"}]}}, [1, 2, 4, 5, 6, 7, 8, 9]),
        ({"$not": {"$and": [{"a": {"$ne": 1}}, {"a": {"$ne": 2.5}}]}}, [0, 1]),
        ({"$not": {"a": {"$gte": 1}, "a.b": {"$exists": False}}}, [0, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"$not": {"a.b": {"$exists": False}}}, [7]),
        ({"$not": {}}, []),
        ({"$or": [{"a": 1}, {"a": {"$exists": False}}]}, [0, 9]),
        ({"$or": [{"a": 1}, {"a.b": {"$ne": 1}}]}, [0, 1, 2, 3, 4, 5, 6, 8, 9]),
    ],
)
def test_candidates_of_negations(source, expected):
    entries = [1, 2.5, -3, "xyz", True, None, [1, "t"], {"b": 1}, {}]
    assert candidates(source, *({"a": value} for value in entries), {"c": 1}) == expected


def test_a_negation_of_many_values_has_few_ranges():
    [[*ranges]] = parse({"a": {"$nin": list(range(1000))}}).narrow()
    assert len(ranges) == 100
    few = {"$and": [{"a": {"$ne": number}} for number in range(1000)]}
    assert [list(ranges)] == [list(a) for a in parse(few).narrow()]


def test_what_can_be_found_without_shapes_comes_first():
    source = {"a": {"$ne": 1}, "b": {"$exists": True}, "c": {"$exists": False}}
    assert [alternative[0].path for alternative in parse(source).narrow()] == ["b", "c", "a"]


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"a": {"$ne": "x" * 64}},  # many texts begin like this one
        {"a": {"$ne": 2**53}},  # one of two integers with the same double
        {"a": {"$ne": -(10**400)}},
        {"a": {"$ne": []}},
        {"a": {"$ne": {"b": 1}}},
        {"a": {"$nin": [[1], {}]}},
        {"a": {"$not": {"$contains": 1}}},
        {"a": {"$not": {"$eq": 1, "$contains": 1}}},
        {"$or": [{"a": 1}, {}]},
        {"$or": [{f"a{i}": i} for i in range(101)]},
    ],
)
def test_cannot_narrow(source):
    assert parse(source).narrow() == ()


def test_the_narrowest_looking_alternative_comes_first():
    source = {"x": {"$exists": True}, "t": True, "n": {"$gt": 1}, "kind": "note"}
    paths = [alternative[0].path for alternative in parse(source).narrow()]
    assert paths == ["kind", "t", "n", "x"]


def test_an_or_takes_the_narrowest_of_each_branch():
    source = {"$or": [{"a": {"$gt": 1}, "b": "x"}, {"c": "y"}]}
    assert parse(source).narrow() == ((Range("b", b"0x", b"0x"), Range("c", b"0y", b"0y")),)


def test_many_values_of_one_path_become_one_range():
    [[only]] = parse({"a": {"$in": [str(i) for i in range(100, 400)]}}).narrow()
    assert only == Range("a", b"0100", b"0399")


def test_an_impossible_filter_has_an_alternative_without_ranges():
    assert parse({"a": {"$in": []}}).narrow() == ((),)
    assert parse({"a": {"$gt": 5, "$lt": 1}, "b": 1}).narrow()[0] == ()


def test_alternatives_are_few():
    assert len(parse({str(i): i for i in range(50)}).narrow()) == 8
