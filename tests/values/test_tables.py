"""Tables to Parquet and back: types kept, equal bytes for equal rows, refusals by column."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Iterable
from itertools import chain, pairwise
from unittest import mock

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakebed.errors import (
    CorruptionError,
    SerializationError,
)
from lakebed.values import parquet
from lakebed.values.codec import decode_value, encode_value
from lakebed.values.encoded import EncodedFile
from tests.values.round_trips import content_hash, round_trip
from tests.values.table_strategies import tables


def reader(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, batches)


def dictionary(
    values: list[object],
    index: pa.DataType,
    kind: pa.DataType | None = None,
    *,
    ordered: bool = False,
) -> pa.Array:
    indices = pa.array([1, None, 0], index)
    return pa.DictionaryArray.from_arrays(indices, pa.array(values, kind), ordered=ordered)


@given(table=tables(), in_memory=st.booleans())
def test_any_table_comes_back(table: pa.Table, in_memory: bool) -> None:
    with mock.patch.object(parquet, "MEMORY_BYTES", 1 << 20 if in_memory else 1):
        encoded = encode_value(table)
    assert isinstance(encoded, EncodedFile) is not in_memory
    back = decode_value("parquet", encoded.data)
    encoded.close()
    back.validate(full=True)
    assert back.schema == table.schema
    assert back.schema.metadata == table.schema.metadata
    for before, after in zip(table.schema, back.schema, strict=True):
        assert after.metadata == before.metadata
    assert back.to_pylist() == table.to_pylist()


@given(table=tables(), data=st.data())
def test_chunks_do_not_show(table: pa.Table, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, table.num_rows), max_size=5))
    edges = [0, *sorted(cuts), table.num_rows]
    parts = [table.slice(low, high - low).combine_chunks() for low, high in pairwise(edges)]
    with mock.patch.object(parquet, "GROUP_ROWS", 4), mock.patch.object(parquet, "_FEW", 2):
        whole, chunked = content_hash(table), content_hash(pa.concat_tables(parts))
        batches = (batch for part in parts for batch in part.to_batches())
        assert whole == chunked == content_hash(reader(table.schema, batches))
        assert round_trip(table).to_pylist() == table.to_pylist()


# --- types ---------------------------------------------------------------------------------------

KEPT = [
    pa.array([1, None, 2], pa.timestamp("s", "Europe/Berlin")),
    pa.array([{"t": 1}, None, {"t": 2}], pa.struct({"t": pa.time32("s")})),
    pa.array([86_400_000, None, 0], pa.date64()),
    pa.array([1.5, None, float("inf")]).cast(pa.float16()),
    pa.array(["a", None, "b" * 20], pa.string_view()),
    pa.array([b"a", None, b"b" * 20], pa.binary_view()),
    pa.array([decimal.Decimal("1.50"), None, None], pa.decimal32(5, 2)),
    pa.array([decimal.Decimal("1.50"), None, None], pa.decimal64(12, 2)),
    pa.array([[1, None], None, []], pa.list_view(pa.int8())),
    dictionary(["x", "b", "a"], pa.int8()),
    dictionary(["x", "b", "a"], pa.int8(), ordered=True),
    dictionary(["x", "b"], pa.uint64(), pa.large_string()),
    dictionary([b"x", b"b"], pa.int16()),
    pa.array([["a"], None, ["b", "a"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    pa.array([b"a" * 16, None, b"b" * 16], pa.uuid()),
    pa.array(["{}", None, "[1]"], pa.json_()),
]


@pytest.mark.parametrize("array", KEPT, ids=lambda array: str(array.type))
def test_type_is_kept(array: pa.Array) -> None:
    table = pa.table({"before": [1, 2, 3], "a": array})
    back = round_trip(table)
    assert back.schema.equals(table.schema, check_metadata=True)
    assert back.column("a").to_pylist() == table.column("a").to_pylist()


def test_nan_and_zero_signs_are_kept() -> None:
    back = round_trip(pa.table({"a": [float("nan"), -0.0, float("-inf"), None]}))
    assert str(back.column("a").to_pylist()) == "[nan, -0.0, -inf, None]"


def test_categories_keep_their_order_in_every_row_group() -> None:
    table = pa.table({"a": dictionary(["unused", "b", "a"], pa.int8(), ordered=True)})
    with mock.patch.object(parquet, "GROUP_ROWS", 2):
        chunks = round_trip(table).column("a").chunks
    assert [chunk.dictionary.to_pylist() for chunk in chunks] == [["unused", "b", "a"]] * 2


@pytest.mark.parametrize("kind", [pa.int64(), pa.date32(), pa.float64()], ids=str)
def test_other_dictionaries_come_back_as_their_values(kind: pa.DataType) -> None:
    array = dictionary([5, 6], pa.int8(), kind)
    back = round_trip(pa.table({"a": array})).column("a")
    assert back.type == kind
    assert back.to_pylist() == array.to_pylist()


def test_dictionaries_that_do_not_fit_into_one() -> None:
    """Each chunk's values fit its index type, those of all chunks together do not."""
    kind = pa.dictionary(pa.int8(), pa.string())
    texts = [[str(number) for number in range(low, low + 100)] for low in (0, 100, 200)]
    batches = [pa.record_batch({"a": pa.array(text).cast(kind)}) for text in texts]
    back = round_trip(reader(pa.schema({"a": kind}), batches))
    assert back.column("a").type == kind
    assert back.column("a").to_pylist() == list(chain(*texts))


@pytest.mark.parametrize("names", [[""], ["a.b", "a"], ["ü", "🜁"], ["a\0b"], ['"', "'"]], ids=str)
def test_column_names(names: list[str]) -> None:
    table = pa.table([[1]] * len(names), names=names)
    assert round_trip(table).equals(table)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({}),
        pa.table({}, metadata={"a": "b"}),
        pa.table({"a": []}),
        pa.schema({"a": pa.list_(pa.int8()), "b": pa.string()}).empty_table(),
    ],
    ids=lambda table: str(table.schema),
)
def test_empty_tables(table: pa.Table) -> None:
    assert round_trip(table).schema.equals(table.schema, check_metadata=True)
    assert round_trip(table).num_rows == 0


def test_record_batches_and_streams() -> None:
    batch = pa.record_batch({"a": [1, 2]})
    table = pa.table(batch)
    assert round_trip(batch).equals(table)
    assert round_trip(reader(batch.schema, [])).equals(table.slice(0, 0))
    assert round_trip(reader(batch.schema, [batch, batch.slice(0, 0), batch])).num_rows == 4

    class Streams:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return table.__arrow_c_stream__(requested_schema)

    assert round_trip(Streams()).equals(table)
    assert content_hash(Streams()) == content_hash(batch) == content_hash(table)


def test_row_groups() -> None:
    """Bounded by rows and by bytes; a row that is larger stands alone."""
    wide = pa.table({"a": ["x" * 10_000] * 50 + ["y" * 100_000] + ["z"] * 50})
    with mock.patch.object(parquet, "GROUP_BYTES", 50_000), mock.patch.object(parquet, "_FEW", 3):
        one, many = encode_value(wide), encode_value(wide.to_reader(max_chunksize=1))
    assert one == many
    file = pq.ParquetFile(pa.BufferReader(one.data))
    groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert groups == [4] * 12 + [2, 1, 50]
    assert file.read().equals(wide)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_large_dictionaries_do_not_part_rows() -> None:
    kind = pa.dictionary(pa.int32(), pa.string())
    table = pa.table({"a": pa.array(["x" * 100 + str(n) for n in range(1000)]).cast(kind)})
    with mock.patch.object(parquet, "GROUP_BYTES", 10_000):
        encoded = encode_value(table)
    assert pq.ParquetFile(pa.BufferReader(encoded.data)).num_row_groups == 1


# --- refusals ------------------------------------------------------------------------------------

OK = [1, 2]


def objects(*values: object) -> pd.DataFrame:
    return pd.DataFrame({"ok": OK, "a": pd.Series(values, dtype=object)})


_NOT_NULL = pa.field("n", pa.int8(), nullable=False)
_MONTHS = pa.month_day_nano_interval()
_UNION = pa.UnionArray.from_sparse(
    pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]
)
_PERIODS = pd.period_range("2020", periods=2, freq="M")


def labelled(labels: pd.Index) -> pd.DataFrame:
    return pd.DataFrame([OK], columns=labels)


def indexed(index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"ok": OK}, index=index)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pa.table([OK, OK], names=["a", "a"]), "'a' occurs twice"),
        (pa.table({"a": OK}).select([]), "2 rows and no columns"),
        (
            pa.table({"ok": OK, "m": pa.array([(1, 2, 3)] * 2, _MONTHS)}),
            "'m'.*month_day_nano_interval",
        ),
        (pa.table({"ok": OK, "s": pa.array([{}, {}], pa.struct([]))}), "'s'.*no child"),
        (pa.table({"ok": OK, "u": _UNION}), "'u'.*sparse_union"),
        (
            pa.table({"ok": OK, "u": pa.ListArray.from_arrays([0, 1, 2], _UNION)}),
            "'u'.*sparse_union",
        ),
        (pa.table({"ok": OK, "r": pa.RunEndEncodedArray.from_arrays([2], ["a"])}), "'r'.*run_end"),
        (pa.table({"ok": OK, "t": pa.array([1, 2**62], pa.timestamp("s"))}), "'t'.*overflow"),
        (
            pa.table([OK, [1, None]], schema=pa.schema([("ok", pa.int8()), _NOT_NULL])),
            "'n'.*non-nullable",
        ),
        (pa.chunked_array([[1]]), "must be a table, got .*ChunkedArray.*to_frame"),
        (pd.Series([1]), "must be a table, got .*Series"),
        (pl.Series([1]), "must be a table, got .*Series"),
        (pa.array([1]), "must be str, .*Int64Array"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names"),
        (pd.DataFrame([[1, 2]], columns=["a", 0]), "labels must be of one type, got 'a', 0"),
        (pd.DataFrame(index=range(3)), "3 rows and no columns"),
        (pd.DataFrame({"ok": OK, "a": [1, "x"]}), "'a'.*Could not convert 'x'"),
        (pd.DataFrame({"ok": OK, "a": [object(), None]}), "'a'.*did not recognize"),
        (pd.DataFrame({"ok": OK, "a": [2**70, 1]}), "'a'.*too large"),
        (pd.DataFrame({"ok": OK, "a": [1j, 2j]}), "'a'.*Unsupported numpy type"),
        (pd.DataFrame({"ok": OK, "a": pd.arrays.SparseArray([0, 1])}), "'a'.*Sparse"),
        (
            objects(dt.date(2020, 1, 1), pd.Timestamp("2020-01-02 05:00")),
            "'a'.*05:00.*would come back as",
        ),
        (objects(dt.timedelta(1), pd.Timedelta(1)), "'a'.*would come back as"),
        (objects(pd.Timestamp(1), None), "'a'.*would come back as"),
        (objects(b"x", "y"), "'a'.*'y' would come back as b'y'"),
        (objects(2**53 + 1, 1.5), "'a'.*outside of the range"),
        (objects({1}, {2}), "'a'.*.1. would come back as"),
        (objects({1: 2}, None), "'a'.*dict key"),
        (objects(1, 2).set_index(pd.Index([b"x", "y"], name="i")), "'i'.*would come back as"),
        (labelled(pd.Index([True, False])), "labels of dtype bool"),
        (labelled(pd.CategoricalIndex(["a", "b"])), "labels of dtype category"),
        (labelled(_PERIODS), "labels of dtype period"),
        (labelled(pd.interval_range(0, 2)), "labels of dtype interval"),
        (labelled(pd.to_timedelta(OK)), "labels of dtype timedelta"),
        (indexed(_PERIODS), "index holds .*period"),
        (indexed(pd.interval_range(0, 2)), "index holds .*interval"),
        (indexed(pd.MultiIndex.from_arrays([OK, _PERIODS])), "index holds .*period"),
        (pl.DataFrame({"ok": [1], "a": pl.Series([object()], dtype=pl.Object)}), "'a'.*objects"),
        (pl.DataFrame({"ok": [1], "a": pl.Series([1], dtype=pl.Int128)}), "'a'"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_refused(value: object, message: str) -> None:
    with pytest.raises(SerializationError, match=f"(?s){message}"):
        encode_value(value)


def test_a_batch_of_another_schema() -> None:
    stream = reader(pa.schema({"a": pa.int8()}), [pa.record_batch({"b": ["x"]})])
    with pytest.raises(SerializationError, match="the schema of a batch differs"):
        encode_value(stream)


def test_errors_of_the_stream_pass_through() -> None:
    def batches() -> Iterable[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]})
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        encode_value(reader(pa.schema({"a": pa.int64()}), batches()))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all"])
def test_damaged_bytes(data: bytes) -> None:
    with pytest.raises(CorruptionError, match="not a Parquet file"):
        decode_value("parquet", data)
