"""Values come back as they were stored. Equal bytes are kept once."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from lakebed.errors import SerializationError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.conformance.base import Conformance, OpenLake, contents, same

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    2**64,
    10**30,
    -(10**5000),
    0.0,
    -0.0,
    0.1,
    1e22,
    5e-324,
    1.7976931348623157e308,
    "",
    "\x00",
    "a\u0000b",
    "\x7f\x1b[0m",
    "\u2028",
    "é",
    "e\u0301",
    "\ud7ff\ue000\uffff",
    "\U0001f600\U0010ffff",
    '"\\/\b\f\n\r\t',
    [],
    {},
    [[], {}, [None]],
    {"": {"": None}},
    {"\x00": "\x00", "a": None, "ä": [1, 1.0, True, "1"]},
    {"$eq": 2, "a": {"b": 3}, "a.b": 1},
    b"",
    b"\x00\xff",
    b"null",
    b'"text"',
    bytes(range(256)) * 100,
    ["x" * 5_000, {"y": "z" * 5_000}],
]

REFUSED: list[tuple[Any, str]] = [
    (float("nan"), r"\$ is nan"),
    ({"items": [1, 2, {"price": float("inf")}]}, r"\$\.items\[2\]\.price is inf"),
    ([-float("inf")], r"\$\[0\]"),
    ({"a b": {1: 2}}, r'\$\["a b"\] has the key 1'),
    ({None: 1}, r"\$ has the key None"),
    ({"x": {1, 2}}, r"\$\.x must be str, .*got set"),
    ({"x": object()}, r"\$\.x must be str, .*got object"),
    ([[1j]], r"\$\[0\]\[0\] must be str, .*got complex"),
    ({"x": "\ud800"}, r"\$\.x contains a lone surrogate at position 0"),
    ({"\udfff": 1}, r"\$ \(a key\) contains a lone surrogate"),
    ([b"bytes"], r"\$\[0\] must be str, .*got bytes"),
    ([range(3)], r"\$\[0\] must be str, .*got range"),
]


def nested(depth: int) -> list[Any]:
    """Return lists in lists, `depth` levels deep."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


class Values(Conformance):
    """JSON values come back exactly, and so do bytes."""

    FEATURE: ClassVar[str] = "values"

    @pytest.mark.parametrize("threshold", [0, 1_000_000])
    def test_round_trip(self, opening: OpenLake, threshold: int) -> None:
        lake = opening(inline_threshold=threshold)
        for number, value in enumerate(VALUES):
            stored = lake.store(f"v/{number:03}", value)
            assert same(stored.value, value)
        for number, (entry, value) in enumerate(zip(lake.list(), VALUES, strict=True)):
            assert same(entry.value, value)
            assert same(lake.retrieve(f"v/{number:03}"), value)

    def test_what_comes_back_otherwise(self, lake: Lake) -> None:
        lake.store("tuple", (1, (2,)))
        lake.store("sorted", {"b": 1, "a": {"d": 1, "c": 2}})
        lake.store("bytearray", bytearray(b"x"))
        lake.store("view", memoryview(b"xyz")[1:])
        assert same(lake["tuple"], [1, [2]])
        assert same(lake["sorted"], {"a": {"c": 2, "d": 1}, "b": 1})
        assert same(lake["bytearray"], b"x")
        assert same(lake["view"], b"yz")

    @pytest.mark.parametrize(("value", "message"), REFUSED)
    def test_refused(self, lake: Lake, value: Any, message: str) -> None:
        lake.store("a", 1)
        before, stats = contents(lake), lake.stats()
        for key in ("a", "b"):
            with pytest.raises(SerializationError, match=message):
                lake.store(key, value)
        assert contents(lake) == before
        assert lake.stats() == stats

    def test_depth(self, lake: Lake) -> None:
        lake.store("deep", nested(100))
        assert lake["deep"] == nested(100)
        with pytest.raises(SerializationError, match="nested too deeply"):
            lake.store("deeper", nested(101))
        cycle: list[Any] = []
        cycle.append(cycle)
        with pytest.raises(SerializationError, match="nested too deeply"):
            lake.store("deeper", cycle)
        assert list(lake) == ["deep"]

    def test_metadata_round_trip(self, lake: Lake) -> None:
        metadata = {
            "float": [1.0, -0.0, 1e22, 5e-324],
            "int": [1, 2**70, 10**5000],
            "text": ["", "é", "\U0010ffff", "\\u0000", '"'],
            "nested": {"": {"a.b": None}, "true": True},
        }
        stored = lake.store("a", 1, metadata)
        found = lake.entry("a")
        assert found is not None
        expected = dict(sorted(metadata.items()))
        expected["nested"] = {"": {"a.b": None}, "true": True}
        assert same(found.metadata, expected)
        assert same(stored.metadata, expected)

    @pytest.mark.parametrize(
        "metadata",
        [
            [],
            "text",
            5,
            {"a": float("nan")},
            {"a": {1: 2}},
            {"a": "\x00"},
            {"\x00": 1},
            {"a": "\ud800"},
            {"a": b"x"},
            {"a": nested(30)},
        ],
    )
    def test_metadata_refused(self, lake: Lake, metadata: Any) -> None:
        lake.store("a", 1, {"x": 1})
        stats = lake.stats()
        for key in ("a", "b"):
            with pytest.raises(ValidationError, match="metadata"):
                lake.store(key, 2, metadata)
        assert contents(lake) == {"a": (1, {"x": 1}, None)}
        assert lake.stats() == stats

    def test_metadata_depth(self, lake: Lake) -> None:
        lake.store("a", 1, {"a": nested(29)})
        assert [e.key for e in lake.list(metadata_filter={"a": nested(29)})] == ["a"]
