"""Tables that are split by the values of columns read as others do, and only what a query needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lakebed
from lakebed.errors import SerializationError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.values.parts import Parts, decode_parts

HOSTILE = (
    "../../etc/passwd", "a/b", "a=b", "%41", "", "NULL", "null", "__HIVE_DEFAULT_PARTITION__",
    "' OR 1=1 --", "ü\n", "x\0y", "*", "{a,b}", "[0-9]", "a\\b", " ", ".", "s3://b/k", "?x=1#y",
)  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with lakebed.open(tmp_path / "lake", history="all") as lake:
        yield lake


def listed(lake: Lake, key: str = "t") -> Parts:
    row = lake._catalog.get(key)
    assert row is not None
    assert row.inline_value is not None
    return decode_parts(row.inline_value)


def grow(lake: Lake, appends: int = 12) -> None:
    """Rows of four partitions each, 40 an append."""
    for number in range(appends):
        days = [f"day {n % 4}" for n in range(40)]
        rows = pa.table({"n": range(number * 40, number * 40 + 40), "day": days})
        lake.append("t", rows, partition_by="day")


def in_order(rows: Any) -> list[Any]:
    return sorted(rows, key=repr)


class Reads:
    """The files of a folder that were read, and how many bytes."""

    def __init__(self) -> None:
        self.paths = set[str]()
        self.bytes = 0

    def __enter__(self) -> Reads:
        read = LocalStore.read

        def counted(store: LocalStore, path: str, *args: Any, **kwargs: Any) -> bytes:
            data = read(store, path, *args, **kwargs)
            self.paths.add(path)
            self.bytes += len(data)
            return data

        self._patch = patch.object(LocalStore, "read", counted)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def test_a_query_opens_only_the_parts_of_a_value(lake: Lake, tmp_path: Path) -> None:
    grow(lake)
    # Seven small parts and the eighth are one; four more follow: for each of four days.
    assert len(listed(lake).parts) == 4 * 5
    day = {p.content_hash.hex() for p in listed(lake).parts if p.partition == ("day 1",)}
    lake.append("u", pa.table({"n": [1], "day": ["day 1"]}), partition_by="day")
    day.add(listed(lake, "u").parts[0].content_hash.hex())
    with lakebed.open(tmp_path / "lake") as fresh, Reads() as reads:
        table = fresh.table("t")
        found = table.filter(table.day == "day 1").n.sum().to_pyarrow().as_py()
    assert found == sum(n for n in range(480) if n % 4 == 1)
    opened = {Path(path).name[:64] for path in reads.paths}
    assert len(opened & day) == 5
    assert len(opened - day) <= 1  # the first, whose schema is that of all
    with lakebed.open(tmp_path / "lake") as fresh, Reads() as reads:
        both = fresh.tables("")
        assert both.filter(both.day == "day 1").count().to_pyarrow().as_py() == 121
    assert len({Path(path).name[:64] for path in reads.paths} - day) <= 2
    with lakebed.open(tmp_path / "lake") as fresh, Reads() as reads:
        assert fresh.table("t").count().to_pyarrow().as_py() == 480
    assert len(reads.paths) == 20


def test_fewer_bytes_are_read_than_without_partitions(tmp_path: Path) -> None:
    """Of rows that come in any order, statistics exclude nothing."""
    read = dict[str, int]()
    for name, by in (("split", "who"), ("plain", None)):
        with lakebed.open(tmp_path / name) as lake:
            for number in range(3):
                rows = range(number * 20_000, number * 20_000 + 20_000)
                who = [f"agent {n * 7919 % 20}" for n in rows]
                lake.append("t", pa.table({"n": rows, "who": who}), partition_by=by)
        with lakebed.open(tmp_path / name) as lake, Reads() as reads:
            table = lake.table("t")
            total = table.filter(table.who == "agent 3").n.sum().to_pyarrow().as_py()
            assert total == sum(n for n in range(60_000) if n * 7919 % 20 == 3)
        read[name] = reads.bytes
    assert read["split"] * 5 < read["plain"]


@pytest.mark.parametrize("storage", ["folder", "catalog"])
def test_no_value_becomes_a_path(lake: Lake, tmp_path: Path, storage: str) -> None:
    catalog = f"sqlite:///{tmp_path}/inline.db"
    with lakebed.open(catalog=catalog) if storage == "catalog" else lake as used:
        rows = pa.table({"n": range(len(HOSTILE) + 1), "p": [*HOSTILE, None]})
        used.append("t", rows, partition_by=["p"])
        used.append("t", rows)
        assert {part.partition for part in listed(used).parts} == {(v,) for v in (*HOSTILE, None)}
        table = used.table("t")
        assert in_order(table.to_pyarrow().to_pylist()) == in_order(rows.to_pylist() * 2)
        for number, value in enumerate(HOSTILE):
            if "\0" in value:  # no SQL can say it
                continue
            found = table.filter(table.p == value).n.to_pyarrow().to_pylist()
            assert found == [number] * 2, value
        assert table.filter(table.p.isnull()).n.to_pyarrow().to_pylist() == [len(HOSTILE)] * 2
        assert used.verify().problems == []
    for path in (tmp_path / "lake").rglob("*"):
        relative = path.relative_to(tmp_path / "lake").as_posix()
        assert path.is_dir() or relative.startswith(("objects/", "catalog.db"))
        assert "=" not in relative


@pytest.mark.parametrize("name", ["a b", "a=b", "a/b", "ü", "select", 'q"r', "'", "file_index"])
def test_any_name_of_a_column(lake: Lake, name: str) -> None:
    rows = pa.table({"p": [1, 1, 2], name: ["x", "y", "x"]})
    for _ in range(2):
        lake.append("t", rows, partition_by=[name])
    table = lake.table("t")
    assert in_order(table.to_pyarrow().to_pylist()) == in_order(rows.to_pylist() * 2)
    assert table.filter(table[name] == "x").count().to_pyarrow().as_py() == 4


def test_columns_whose_names_differ_in_case(lake: Lake) -> None:
    """DuckDB takes them for one, so it is told of no partitions."""
    lake.append("t", pa.table({"p": ["x", "y"], "P": ["1", "2"]}), partition_by="P")
    lake.append("t", pa.table({"p": ["z"], "P": ["3"]}))
    assert in_order(lake["t"]["p"].to_pylist()) == ["x", "y", "z"]
    assert in_order(row[0] for row in lake.table("t").to_pyarrow().to_pandas().to_numpy()) == [
        "x", "y", "z",
    ]  # fmt: skip


def test_the_first_append_decides(lake: Lake) -> None:
    rows = pa.table({"n": [1], "a": ["x"], "b": ["y"]})
    lake.append("t", rows, partition_by=["a", "b"])
    assert lake.append("t", rows).rows == 2
    assert lake.append("t", rows, partition_by=("a", "b")).rows == 3
    for by in ("a", ["b", "a"], ["n"]):
        with pytest.raises(ValidationError, match=r"'t' is partitioned by 'a', 'b', not by '.*'"):
            lake.append("t", rows, partition_by=by)
    lake.store("plain", rows)
    with pytest.raises(ValidationError, match="'plain' is not partitioned by 'a'"):
        lake.append("plain", rows, partition_by="a")
    wrong: list[Any] = [[], 5, [5], ["a", "a"], ""]
    for by in wrong:
        with pytest.raises(ValidationError, match=r"partition_by|no column ''"):
            lake.append("u", rows, partition_by=by)
    assert lake.entry("u") is None
    lake.store("t", rows)  # replaces the table whole
    assert lake.append("t", rows).rows == 2


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([1.5], pa.float64(), "'p' is double: a table can be partitioned only by columns of text"),
        ([b"x"], pa.binary(), "'p' is binary"),
        ([None], pa.null(), "'p' is null"),
        (["x" * 1025], pa.string(), r"at most 1,024 bytes, but the column 'p'"),
        ([2**31 - 1], pa.date32(), "'p' has the date"),
        (range(1001), pa.int64(), "1,00[01] partitions, but at most 1,000 are"),
    ],
)
def test_what_cannot_be_a_partition(lake: Lake, values: Any, kind: pa.DataType, words: str) -> None:
    with pytest.raises((ValidationError, SerializationError), match=words):
        lake.append("t", pa.table({"p": pa.array(values, kind)}), partition_by="p")
    assert lake.entry("t") is None
    lake.append("t", pa.table({"p": pa.array([1], pa.int32())}), partition_by="p")
    with pytest.raises(ValidationError, match="partitioned only by columns of text"):
        lake.append("t", pa.table({"p": [1.5]}), widen=True)


def test_many_partitions_together_are_refused(lake: Lake) -> None:
    lake.append("t", pa.table({"p": range(900)}), partition_by="p")
    with pytest.raises(ValidationError, match="would have 1,800 partitions"):
        lake.append("t", pa.table({"p": range(900, 1800)}))
    assert lake.append("t", pa.table({"p": range(100, 1000)})).rows == 1800
    assert lake._catalog.stats().objects == lake.stats(exact=True).objects


def test_a_table_widens(lake: Lake) -> None:
    lake.append("t", pa.table({"p": pa.array([1, 2], pa.int8()), "n": [1, 2]}), partition_by="p")
    lake.append("t", pa.table({"n": [3], "more": ["x"]}), widen=True)
    lake.append("t", pa.table({"p": [2**40, None], "n": [4, 5], "more": ["y", None]}), widen=True)
    lake.append("t", pa.table({"n": pa.array([], pa.int64()), "last": pa.array([], pa.date32())}),
                widen=True)  # fmt: skip
    wanted = [
        {"p": 1, "n": 1, "more": None, "last": None},
        {"p": 2, "n": 2, "more": None, "last": None},
        {"p": None, "n": 3, "more": "x", "last": None},
        {"p": 2**40, "n": 4, "more": "y", "last": None},
        {"p": None, "n": 5, "more": None, "last": None},
    ]
    for _ in range(2):
        assert in_order(lake["t"].to_pylist()) == in_order(wanted)
        table = lake.table("t")
        assert table.schema().names == ("p", "n", "more", "last")
        assert in_order(table.to_pyarrow().to_pylist()) == in_order(wanted)
        assert table.filter(table.p == 2**40).n.to_pyarrow().to_pylist() == [4]
        assert in_order(table.filter(table.p.isnull()).n.to_pyarrow().to_pylist()) == [3, 5]
        lake.compact()
    assert {part.partition for part in listed(lake).parts} == {
        ("1",),
        ("2",),
        (None,),
        (f"{2**40}",),
    }


def test_an_empty_first_append(lake: Lake) -> None:
    rows = pa.table({"p": ["x"], "n": [1]})
    lake.append("t", rows.slice(0, 0), partition_by="p")
    assert lake["t"].num_rows == lake.table("t").count().to_pyarrow().as_py() == 0
    assert lake.append("t", rows).rows == 1
    assert lake.table("t").to_pyarrow().to_pylist() == rows.to_pylist()


def test_a_compaction_joins_within_a_partition(lake: Lake) -> None:
    grow(lake)
    before = lake["t"]
    assert lake.compact().parts_joined == 20
    assert [part.partition for part in listed(lake).parts] == [(f"day {n}",) for n in range(4)]
    assert lake["t"].sort_by("n").equals(before.sort_by("n").combine_chunks())
    assert lake.compact().parts_joined == 0
    only = pa.table({"n": [1], "day": ["x"]})
    for _ in range(2):
        lake.append("one", only, partition_by="day")
    assert lake.compact().parts_joined == 2
    assert lake.compact().parts_joined == 0
    assert listed(lake, "one").partition_by == ("day",)
    lake.collect(grace=0)
    assert lake.verify().problems == []


def test_rows_of_a_partition_keep_their_order(lake: Lake) -> None:
    grow(lake, 10)
    for day in range(4):
        for _ in range(2):
            mine = lake["t"].filter(pa.compute.field("day") == f"day {day}")["n"].to_pylist()
            assert mine == [n for n in range(400) if n % 4 == day]
        lake.compact()


def test_large_streams_are_split_piece_by_piece(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakebed.values.partitions._TOGETHER", 1)
    batch = pa.record_batch({"p": ["x", "y", "x"], "n": [1, 2, 3]})
    batches = [batch] * 9  # equal rows, whose parts have equal hashes
    for _ in range(2):
        lake.append("t", pa.RecordBatchReader.from_batches(batch.schema, batches), partition_by="p")
    assert in_order(lake["t"].to_pylist()) == in_order(batch.to_pylist() * 18)
    assert in_order(lake.table("t").to_pyarrow().to_pylist()) == in_order(batch.to_pylist() * 18)
    lake.compact()
    lake.collect(grace=0, orphans=True, orphan_grace=0)
    assert lake["t"].num_rows == 54
    assert lake.verify().problems == []


def test_everything_keeps_the_partitions(lake: Lake, tmp_path: Path) -> None:
    grow(lake, 9)
    lake.create_snapshot("s")
    then = lake["t"]
    lake.append("t", pa.table({"n": [-1], "day": ["new"]}))
    (changed,) = lake.diff("s").changed
    assert (changed.before.rows, changed.after.rows) == (360, 361)
    assert lake.at("s")["t"].equals(then)
    at = lake.at("s").table("t")
    assert at.filter(at.day == "day 3").count().to_pyarrow().as_py() == 90
    made = dict[str, Callable[[], Any]](
        copy=lambda: lakebed.copy(lake, tmp_path / "copy", history=True, snapshots=True),
        restored=lambda: lakebed.restore_backup(tmp_path / "b", tmp_path / "restored"),
    )
    lakebed.backup(lake, tmp_path / "b", history=True)
    for name, make in made.items():
        if name == "copy":
            lakebed.open(tmp_path / "copy", history="all").close()
        make()
        with lakebed.open(tmp_path / name) as other:
            assert listed(other) == listed(lake)
            assert other.at("s")["t"].equals(then)
            assert other.append("t", pa.table({"n": [0], "day": ["x"]})).rows == 362
            with pytest.raises(ValidationError, match="partitioned by 'day', not by 'n'"):
                other.append("t", pa.table({"n": [0], "day": ["x"]}), partition_by="n")
            assert other.verify().problems == []
    lake.restore("s")
    assert lake["t"].equals(then)


def test_a_publication_has_the_rows_of_a_partition_side_by_side(lake: Lake, tmp_path: Path) -> None:
    grow(lake, 3)
    lake.publish(tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out" / "entries.parquet").to_pylist()
    table = pq.read_table(Path(unquote(row["table_uri"].removeprefix("file://"))))
    days = table["day"].to_pylist()
    assert days == sorted(days)
    assert table.sort_by("n").equals(lake["t"].sort_by("n").combine_chunks())


VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    | st.sampled_from(HOSTILE),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    pa.dictionary(pa.int32(), pa.string()): st.sampled_from(["x", "y/z"]),
}


@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_the_same_rows_as_without_partitions(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kinds = data.draw(st.lists(st.sampled_from([*VALUES]), min_size=1, max_size=2))
    names = [f"p{n}" for n in range(len(kinds))]
    schema = pa.schema([("n", pa.int64()), *zip(names, kinds, strict=True)])
    some = {
        kind: data.draw(st.lists(VALUES[kind] | st.none(), min_size=1, max_size=4))
        for kind in {*kinds}
    }
    values = st.tuples(st.integers(0, 9), *(st.sampled_from(some[kind]) for kind in kinds))
    folder = tmp_path_factory.mktemp("lake")
    with lakebed.open(folder) as lake:
        for _ in range(data.draw(st.integers(1, 10))):
            rows = data.draw(st.lists(values, max_size=6))
            columns = list(zip(*rows, strict=True)) or [()] * len(schema)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            table = pa.Table.from_arrays(arrays, schema=schema)
            lake.append("split", table, partition_by=names)
            lake.append("plain", table)
            if data.draw(st.integers(0, 5)) == 0:
                lake.compact()
        wanted = in_order(lake["plain"].to_pylist())
        assert in_order(lake["split"].to_pylist()) == wanted
        split, plain = lake.table("split"), lake.table("plain")
        assert split.schema().names == plain.schema().names
        assert in_order(split.to_pyarrow().to_pylist()) == in_order(plain.to_pyarrow().to_pylist())
        for kind, name in zip(kinds, names, strict=True):
            for value in some[kind]:
                if "\0" in str(value):
                    continue
                both = [
                    in_order(
                        one.filter(one[name].isnull() if value is None else one[name] == value)
                        .to_pyarrow().to_pylist()
                    )
                    for one in (split, plain)
                ]  # fmt: skip
                assert both[0] == both[1]
        assert lake.verify().problems == []
