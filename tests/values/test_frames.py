"""DataFrames of pandas and polars: dtypes, indexes and labels that come back."""

from __future__ import annotations

import datetime as dt
import decimal
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal as assert_polars_equal

from lakebed.errors import (
    DependencyMissingError,
    ValidationError,
)
from lakebed.values.tables import convert
from tests.values.round_trips import content_hash, round_trip

# --- pandas --------------------------------------------------------------------------------------

SERIES = (
    {
        "text": ["x", None, "ü"],
        "bytes": [b"x", None, b""],
        "floats": [1.5, float("nan"), float("inf")],
        "bools or None": pd.Series([True, None, False], dtype=object),
        "dates": [dt.date(2020, 1, 1), None, None],
        "times": [dt.time(1, 2, 3, 4), None, None],
        "decimals": [decimal.Decimal("1.50"), None, None],
        "lists": [[1, 2], None, []],
        "categories": pd.Categorical(["b", None, "a"], categories=["unused", "b", "a"]),
        "ordered categories": pd.Categorical(["b", None, "a"], ["unused", "b", "a"], ordered=True),
        "no categories in use": pd.Categorical([None] * 3, categories=["b", "a"]),
        "Int8": pd.array([1, None, 3], "Int8"),
        "boolean": pd.array([True, None, False], "boolean"),
        "Float32": pd.array([1.5, None, 0.0], "Float32"),
        "string": pd.array(["x", None, ""], "string"),
        "int8[pyarrow]": pd.array([1, None, 3], "int8[pyarrow]"),
        "list[pyarrow]": pd.Series([[1], None, []], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        "period": pd.period_range("2020", periods=3, freq="M"),
        "interval": pd.interval_range(0, 3),
        "float16": np.array([1.5, 2, 3], "float16"),
        "uint64": np.array([2**64 - 1, 0, 1], "uint64"),
        "fixed offset": [
            dt.datetime(2020, 1, day, tzinfo=dt.timezone(dt.timedelta(hours=1)))
            for day in (1, 2, 3)
        ],
    }
    | {
        f"{kind}[{unit}{zone}]": pd.Series(
            ["2020-03-29 01:00", None, "1950-01-01"], dtype="datetime64[ns]"
        )
        .astype(f"datetime64[{unit}]")
        .dt.tz_localize(zone.strip(", ") or None)
        for kind in ("datetime",)
        for unit in ("s", "ms", "us", "ns")
        for zone in ("", ", Europe/Berlin")
    }
    | {
        f"timedelta[{unit}]": pd.Series([1, None, -5]).astype(f"timedelta64[{unit}]")
        for unit in ("s", "ms", "us", "ns")
    }
)


@pytest.mark.parametrize("name", SERIES)
def test_pandas_dtypes(name: str) -> None:
    frame = pd.DataFrame({"before": [1, 2, 3], name: SERIES[name]})
    pd.testing.assert_frame_equal(convert(round_trip(frame), "pandas"), frame)
    assert content_hash(frame) == content_hash(frame.copy())


INDEXES = {
    "range": pd.RangeIndex(2, 6, 2, name="q"),
    "text": pd.Index(["x", "y"], name="n"),
    "no name": pd.Index([5, 7]),
    "named as a column": pd.Index([5, 7], name="a"),
    "levels": pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["x", None]),
    "times": pd.DatetimeIndex(["2020-01-01", "2020-01-05"], tz="Europe/Berlin"),
    "durations": pd.to_timedelta([1, 5]),
    "categories": pd.CategoricalIndex(["b", "a"], categories=["a", "b", "c"]),
    "bools": pd.Index([True, False]),
    "floats": pd.Index([1.5, float("nan")]),
    "twice": pd.Index([5, 5]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_pandas_index(name: str) -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=INDEXES[name])
    pd.testing.assert_frame_equal(convert(round_trip(frame), "pandas"), frame)


@pytest.mark.parametrize(
    "columns",
    [
        [0, 1],
        pd.Index(["a", "b"], name="n"),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", "y"]),
        pd.MultiIndex.from_product([pd.DatetimeIndex(["2020-01-01"]), ["a", "b"]]),
        pd.DatetimeIndex(["2020-01-01", "2020-01-05"], tz="Europe/Berlin"),
        pd.Index([1.5, 2.5]),
        pd.Index([b"a", b"b"]),
    ],
    ids=str,
)
def test_pandas_labels(columns: list[int] | pd.Index) -> None:
    frame = pd.DataFrame([[1, 2]], columns=columns)
    pd.testing.assert_frame_equal(convert(round_trip(frame), "pandas"), frame)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame({"a": [], "b": pd.Series([], dtype="int8")}),
        pd.DataFrame(index=pd.Index(["x", "y"])),
    ],
    ids=str,
)
def test_empty_pandas(frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(convert(round_trip(frame), "pandas"), frame)


def test_pandas_attributes() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": "m"}
    assert convert(round_trip(frame), "pandas").attrs == {"unit": "m"}


# --- polars --------------------------------------------------------------------------------------


POLARS = {
    "text": ["x", None, "ü"],
    "bytes": [b"x", None, b""],
    "nothing": [None] * 3,
    "floats": [1.5, float("nan"), None],
    "dates": [dt.date(2020, 1, 1), None, None],
    "times": [dt.time(1, 2, 3, 4), None, None],
    "lists": [[1, 2], None, []],
    "structs": [{"x": 1, "y": None}, None, {"x": 2, "y": "z"}],
    "categories": pl.Series(["x", None, "y"], dtype=pl.Categorical),
    "enumeration": pl.Series(["x", None, "y"], dtype=pl.Enum(["unused", "y", "x"])),
    "lists of categories": pl.Series([["x"], None, []], dtype=pl.List(pl.Categorical)),
    "arrays": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int8, 2)),
    "decimals": pl.Series([decimal.Decimal("1.5"), None, None], dtype=pl.Decimal(20, 2)),
} | {
    str(kind): pl.Series([1, None, 0], dtype=kind)
    for kind in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.Duration("ms"), pl.Duration("us"), pl.Duration("ns")),
        *(pl.Datetime(unit, zone) for unit in ("ms", "us", "ns") for zone in (None, "Asia/Tokyo")),
    )
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_dtypes(name: str) -> None:
    frame = pl.DataFrame({"before": [1, 2, 3], name: POLARS[name]})
    assert_polars_equal(convert(round_trip(frame), "polars"), frame)
    assert_polars_equal(convert(round_trip(frame.clear()), "polars"), frame.clear())
    assert content_hash(frame) == content_hash(frame.clone())


def test_polars_categories_of_other_frames_leave_no_trace() -> None:
    frame = pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Categorical)})
    before = content_hash(frame)
    assert pl.Series(["y", "elsewhere", "x"], dtype=pl.Categorical).len() == 3
    assert content_hash(frame) == before
    again = pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Categorical)})
    assert content_hash(again) == before


# --- conversions ---------------------------------------------------------------------------------


def test_lazy_frames_are_computed() -> None:
    lazy = pl.DataFrame({"a": [1, 2, 3]}).lazy().filter(pl.col("a") > 1)
    assert round_trip(lazy).to_pydict() == {"a": [2, 3]}


def test_empty_polars() -> None:
    assert_polars_equal(convert(round_trip(pl.DataFrame()), "polars"), pl.DataFrame())


def test_a_type_that_the_library_does_not_have() -> None:
    table = round_trip(pa.table({"a": pa.array([decimal.Decimal(10**60)], pa.decimal256(70, 2))}))
    assert convert(table, "pandas")["a"][0] == 10**60
    with pytest.raises(ValidationError, match="as_='polars' cannot hold this table"):
        convert(table, "polars")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_missing_package(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DependencyMissingError, match=rf"pip install 'lakebed\[{library}\]'"):
        convert(pa.table({"a": [1]}), library)
