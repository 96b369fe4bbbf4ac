"""Which rows fit which table, and what a table widens to."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakebed.errors import ValidationError
from lakebed.values.schemas import as_table, combined, holds, wider

WHOLE = [getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)]
TYPES = [
    *WHOLE, pa.float16(), pa.float32(), pa.float64(), pa.decimal128(5, 2), pa.decimal128(9, 4),
    pa.string(), pa.large_string(), pa.binary(), pa.bool_(), pa.date32(), pa.null(),
    pa.list_(pa.int64()), pa.dictionary(pa.int8(), pa.string()),
]  # fmt: skip


@given(st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_a_wider_type_holds_both(a: pa.DataType, b: pa.DataType) -> None:
    wide = wider(a, b)
    assert wide == wider(b, a)
    if wide is not None:
        assert holds(wide, a)
        assert holds(wide, b)


@given(st.sampled_from(WHOLE), st.sampled_from([*WHOLE, pa.float32(), pa.float64()]))
def test_holding_is_exact(narrow: pa.DataType, wide: pa.DataType) -> None:
    """By the ends of a type, which are what fits least."""
    bits = narrow.bit_width
    signed = pa.types.is_signed_integer(narrow)
    ends = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
    column = pa.array(ends, narrow)
    try:
        fits = column.cast(wide).to_pylist() == ends
    except pa.ArrowInvalid:
        fits = False
    assert holds(wide, narrow) == fits


@pytest.mark.parametrize(
    ("a", "b", "wide"),
    [
        (pa.int8(), pa.uint8(), pa.int16()),
        (pa.uint32(), pa.int64(), pa.int64()),
        (pa.uint64(), pa.int64(), None),
        (pa.int64(), pa.float64(), None),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.decimal128(5, 2), pa.decimal128(9, 4), pa.decimal128(9, 4)),
        (pa.decimal128(9, 0), pa.decimal128(5, 4), pa.decimal128(13, 4)),
        (pa.decimal128(38, 0), pa.decimal128(5, 4), None),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.string(), pa.int64(), None),
    ],
)
def test_wider(a: pa.DataType, b: pa.DataType, wide: pa.DataType | None) -> None:
    assert wider(a, b) == wide


def test_columns_keep_their_order_and_become_nullable() -> None:
    table = pa.schema([pa.field("a", pa.int64(), nullable=False), ("b", pa.string())])
    rows = pa.schema([("c", pa.bool_()), ("b", pa.string())])
    assert combined(table, rows, widen=True, key="t") == pa.schema(
        [("a", pa.int64()), ("b", pa.string()), ("c", pa.bool_())]
    )
    with pytest.raises(ValidationError, match="'a' is int64 in the table 't' and is not in the"):
        combined(table, rows, widen=False, key="t")


def test_a_column_of_nulls_fits_any_type() -> None:
    table = pa.schema([("a", pa.list_(pa.int64()))])
    assert combined(table, pa.schema([("a", pa.null())]), widen=False, key="t") == table
    part = pa.table({"a": pa.nulls(2)})
    assert as_table(part, table).to_pylist() == [{"a": None}, {"a": None}]
