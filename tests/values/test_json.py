"""JSON values: exact round trips, one canonical form, refusals that name their place."""

from __future__ import annotations

import json
import math
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakebed.errors import CorruptionError, SerializationError
from lakebed.testing.conformance.base import same
from lakebed.values import json as encoder
from lakebed.values.json import MAX_DEPTH, _encode_with_care, decode, decode_text, encode

texts = st.text() | st.sampled_from(["", "\x00", "\ud7ff", "\ue000", "\uffff", "\U0010ffff", '"\\'])
numbers = (
    st.integers()
    | st.integers(-(2**65), 2**65)
    | st.sampled_from([s * 2**e + d for s in (1, -1) for e in (53, 63, 64) for d in (-1, 0, 1)])
    | st.integers(4200, 4400).map(lambda digits: 10**digits + 7)
)
floats = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [-0.0, 5e-324, -5e-324, 1.7976931348623157e308, 1e22, 1e23, 1e16, 123456789012345680.0, 0.1]
)
scalars = st.none() | st.booleans() | numbers | floats | texts


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)


values = st.recursive(scalars, containers, max_leaves=12)
without_floats = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts, containers, max_leaves=12
)


def in_order(value: Any) -> Any:
    """The value with the keys of every object sorted, as it comes back."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


@given(values)
@example(10**5000)
@example(-(10**5000))
@example({"a": [10**20, {"": -0.0}], "\x00": None, "\U0001f600": [[]]})
def test_round_trip(value: Any) -> None:
    data = encode(value)
    assert same(decode(data), in_order(value))
    assert same(decode_text(data.decode()), in_order(value))
    assert encode(decode(data)) == data


@given(values)
@example(2**64 - 1)
@example(2**64)
@example(-(2**63))
@example(-(2**63) - 1)
def test_the_careful_encoder_writes_the_same(value: Any) -> None:
    assert _encode_with_care(value, "$", MAX_DEPTH, MAX_DEPTH) == encode(value)


@given(without_floats)
def test_it_is_the_json_that_everybody_reads(value: Any) -> None:
    assert json.loads(encode(value)) == value
    expected = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert encode(value) == expected.encode()


@given(values)
@example({"b": ["\x7f\x80\u2028/"], "a": "x" * 2000, "\U0001f600": 1, "\uffff": 2})
@example("\ud800")
@example({"a": ["\udfff"]})
def test_both_writers_write_the_same(value: Any) -> None:
    """The one that writes until orjson is loaded, and orjson."""

    def attempt() -> bytes | str:
        try:
            return encode(value)
        except SerializationError as error:
            return str(error)

    loaded = encoder._load_orjson()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_write_any", None)
        first = attempt()
        patch.setattr(encoder, "_write_any", loaded)
        assert first == attempt()


@given(values)
@example([2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 1e300, -0.0])
@example({"a": {"b": [[10**19], {"c": 10**400}]}})
def test_both_readers_read_the_same(value: Any) -> None:
    """The careful one, and orjson's for large values."""
    data = encode(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_LARGE", 0)
        patch.setattr(encoder, "_ENOUGH", 0)
        assert same(decode(data), in_order(value))


@given(st.dictionaries(texts, scalars, max_size=6), st.randoms())
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], chance: Any) -> None:
    keys = list(value)
    chance.shuffle(keys)
    assert encode({key: value[key] for key in keys}) == encode(value)


@given(floats)
def test_floats_to_the_last_bit(value: float) -> None:
    found = decode(encode(value))
    assert type(found) is float
    assert found.hex() == value.hex()


@given(st.integers(1, 12_000), st.booleans())
def test_integers_of_any_size(digits: int, negative: bool) -> None:
    value = (10**digits - 1) * (-1 if negative else 1)
    assert decode(encode({"n": [value]})) == {"n": [value]}


class Text(str):
    """Shows something else than it holds."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number(int):
    pass


class Real(float):
    pass


Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2, [])), [1, [2, []]]),
        (Pair(1, Pair(2, 3)), [1, [2, 3]]),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        ([Text("text")], ["text"]),
        ({Text("key"): 1}, {"key": 1}),
        ([Number(5), Number(10**30)], [5, 10**30]),
        ([Real(0.5), Real(-0.0)], [0.5, -0.0]),
    ],
    ids=repr,
)
def test_subclasses_come_back_as_their_base(value: Any, expected: Any) -> None:
    assert same(decode(encode(value)), expected)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    ADA = "ada"


@dataclass
class Point:
    x: int


REFUSED = [
    math.nan,
    math.inf,
    -math.inf,
    Real("nan"),
    datetime(2020, 1, 1, tzinfo=UTC),
    date(2020, 1, 1),
    time(1),
    uuid.UUID(int=1),
    Point(1),
    Decimal(1),
    Fraction(1),
    Colour.RED,
    Level.LOW,
    Name.ADA,
    {1, 2},
    frozenset(),
    range(3),
    iter([]),
    object(),
    object,
    1j,
    b"bytes",
    bytearray(),
    "\ud800",
    "a\udfffb",
    {1: 2},
    {None: 1},
    {True: 1},
    {("a",): 1},
    {b"a": 1},
    {Level.LOW: 1},
    {Name.ADA: 1},
    {"a": 1, 2: 3},
]


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: ascii(value).partition(" at 0x")[0])
def test_refused(value: Any) -> None:
    with pytest.raises(SerializationError, match=r"^\$"):
        encode(value)
    with pytest.raises(SerializationError, match=r"^\$\.items\[2\]\.price\b"):
        encode({"items": [1, None, {"price": value}]})


names = st.text(alphabet="abz_09", min_size=1, max_size=3).filter(str.isidentifier)
odd_names = st.sampled_from(["a b", "", "ä", "0", "."])
steps = st.lists(names | odd_names | st.integers(0, 3), max_size=6)


@given(steps, st.sampled_from([math.nan, object(), {1, 2}, "\ud800"]))
def test_a_refusal_names_its_path(path: list[str | int], poison: Any) -> None:
    value, shown = poison, ""
    for step in reversed(path):
        value = [0] * step + [value] if isinstance(step, int) else {"first": 1, step: value}
    for step in path:
        plain = isinstance(step, str) and step.isascii() and step.isidentifier()
        shown += f".{step}" if plain else f"[{json.dumps(step)}]"
    with pytest.raises(SerializationError) as caught:
        encode(value)
    assert str(caught.value).startswith(f"${shown} ")


def test_a_lone_surrogate_is_named_by_its_place() -> None:
    with pytest.raises(SerializationError, match="surrogate at position 3:"):
        encode('"\n\x01\ud800')


def nested(depth: int, kind: str) -> Any:
    value: Any = [] if kind == "list" else {}
    for _ in range(depth - 1):
        value = [value] if kind == "list" else {"a": value}
    return value


@pytest.mark.parametrize("kind", ["list", "dict"])
@pytest.mark.parametrize("careful", [False, True])
def test_depth(kind: str, careful: bool) -> None:
    def build(depth: int) -> Any:
        return [10**30, nested(depth - 1, kind)] if careful else nested(depth, kind)

    assert decode(encode(build(MAX_DEPTH))) == build(MAX_DEPTH)
    with pytest.raises(SerializationError, match=f"nested too deeply.*{MAX_DEPTH} levels"):
        encode(build(MAX_DEPTH + 1))


def test_what_holds_itself() -> None:
    value: dict[str, Any] = {}
    value["a"] = [value]
    with pytest.raises(SerializationError, match="nested too deeply"):
        encode(value)


CUT = [b"", b"{", b"nul", b"1 2", b"[1,]", b"\xff", b'"\xed\xa0\x80"', b"{}\n", b" 1", b"[" * 10**5]


@pytest.mark.parametrize("large", [4000, 0])
@pytest.mark.parametrize("data", CUT, ids=lambda data: ascii(data[:12]))
def test_bytes_that_are_no_value(data: bytes, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As either reader sees them."""
    monkeypatch.setattr(encoder, "_LARGE", large)
    monkeypatch.setattr(encoder, "_ENOUGH", 0)
    with pytest.raises(CorruptionError, match="not valid JSON"):
        decode(data)


def test_orjson_is_taken_up_once_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder._load_orjson()
    monkeypatch.setattr(encoder, "_write_any", None)
    assert encode({"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    assert encoder._write_any is not None
    monkeypatch.setattr(encoder, "_write_any", None)
    monkeypatch.setattr(encoder, "_written", 0)
    monkeypatch.setattr(encoder, "_MANY", 3)
    monkeypatch.setattr(encoder, "sys", SimpleNamespace(modules={}))
    loaded = []
    for n in range(4):
        assert encode(n) == b"%d" % n
        loaded.append(encoder._write_any is not None)
    assert loaded == [False, False, True, True]
