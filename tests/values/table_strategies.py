"""Any table: Hypothesis strategies over the Arrow types that come back as they went in."""

from __future__ import annotations

import decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

_ZONES = st.sampled_from([None, "UTC", "Europe/Berlin", "+01:30"])
_UNITS = st.sampled_from(["s", "ms", "us", "ns"])
_INT32 = st.integers(-(2**31), 2**31 - 1)
_TEXT = st.text(max_size=8)


def _integers(bits: int, signed: bool) -> st.SearchStrategy[tuple[pa.DataType, Any]]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    kind = getattr(pa, f"{'' if signed else 'u'}int{bits}")()
    return st.just((kind, st.integers(low, high)))


def _decimals(digits: int, scale: int) -> tuple[pa.DataType, Any]:
    whole = st.integers(-(10**digits) + 1, 10**digits - 1)
    kind = pa.decimal128(digits, scale) if digits <= 38 else pa.decimal256(digits, scale)
    context = decimal.Context(prec=80)
    return kind, whole.map(lambda number: decimal.Decimal(number).scaleb(-scale, context))


_LEAVES: st.SearchStrategy[tuple[pa.DataType, Any]] = st.one_of(
    *(_integers(bits, signed) for bits in (8, 16, 32, 64) for signed in (True, False)),
    st.sampled_from(
        [
            (pa.null(), st.none()),
            (pa.bool_(), st.booleans()),
            (pa.float32(), st.floats(width=32, allow_nan=False)),
            (pa.float64(), st.floats(allow_nan=False)),
            (pa.string(), _TEXT),
            (pa.large_string(), _TEXT),
            (pa.binary(), st.binary(max_size=8)),
            (pa.large_binary(), st.binary(max_size=8)),
            (pa.binary(3), st.binary(min_size=3, max_size=3)),
            (pa.date32(), st.dates()),
            (pa.date64(), st.dates()),
            (pa.time32("s"), st.times().map(lambda time: time.replace(microsecond=0))),
            (pa.time64("us"), st.times()),
            _decimals(9, 2),
            _decimals(38, 10),
            _decimals(60, 0),
        ]
    ),
    st.tuples(st.builds(pa.timestamp, _UNITS, _ZONES), st.just(_INT32)),
    st.tuples(st.builds(pa.duration, _UNITS), st.just(_INT32)),
)


def _nested(
    inner: st.SearchStrategy[tuple[pa.DataType, Any]],
) -> st.SearchStrategy[tuple[pa.DataType, Any]]:
    def as_list(pair: tuple[pa.DataType, Any]) -> tuple[pa.DataType, Any]:
        return pa.list_(pair[0]), st.lists(st.none() | pair[1], max_size=3)

    def as_large_list(pair: tuple[pa.DataType, Any]) -> tuple[pa.DataType, Any]:
        return pa.large_list(pair[0]), st.lists(st.none() | pair[1], max_size=3)

    def as_pairs(pair: tuple[pa.DataType, Any]) -> tuple[pa.DataType, Any]:
        return pa.list_(pair[0], 2), st.lists(st.none() | pair[1], min_size=2, max_size=2)

    def as_map(pair: tuple[pa.DataType, Any]) -> tuple[pa.DataType, Any]:
        members = st.dictionaries(_TEXT, st.none() | pair[1], max_size=3)
        return pa.map_(pa.string(), pair[0]), members.map(lambda member: list(member.items()))

    def as_struct(pairs: list[tuple[pa.DataType, Any]]) -> tuple[pa.DataType, Any]:
        names = [f"f{number}" for number in range(len(pairs))]
        kind = pa.struct([pa.field(name, pair[0]) for name, pair in zip(names, pairs, strict=True)])
        values = {name: st.none() | pair[1] for name, pair in zip(names, pairs, strict=True)}
        return kind, st.fixed_dictionaries(values)

    wrapped = [inner.map(wrap) for wrap in (as_list, as_large_list, as_pairs, as_map)]
    return st.one_of(*wrapped, st.lists(inner, min_size=1, max_size=3).map(as_struct))


_COLUMNS = st.recursive(_LEAVES, _nested, max_leaves=4)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """A table of up to 20 rows and 4 columns, nested types, nulls and field metadata included."""
    rows = draw(st.integers(0, 20))
    names = draw(st.lists(_TEXT, unique=True, min_size=1, max_size=4))
    arrays, fields = [], []
    for name in names:
        kind, values = draw(_COLUMNS)
        column = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        array = pa.array(column, kind)
        if pa.types.is_string(kind) and draw(st.booleans()):
            array = array.dictionary_encode()
        nullable = array.null_count > 0 or draw(st.booleans())
        notes = draw(st.dictionaries(_TEXT, _TEXT, max_size=2))
        arrays.append(array)
        fields.append(pa.field(name, array.type, nullable=nullable, metadata=notes or None))
    notes = draw(st.dictionaries(_TEXT, _TEXT, max_size=2))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, notes or None))
