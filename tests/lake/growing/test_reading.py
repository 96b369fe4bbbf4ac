"""Tables of parts in SQL, in copies, in publications, and where a part is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lakebed
from lakebed.errors import ConfigurationError, CorruptionError, QueryError
from lakebed.lake.lake import Lake
from lakebed.values.parts import decode_parts


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with lakebed.open(tmp_path / "lake", history="all") as lake:
        yield lake


def numbers(*values: int) -> pa.Table:
    return pa.table({"n": values})


def grow(lake: Lake, key: str = "t", appends: int = 11) -> None:
    for n in range(appends):
        lake.append(key, numbers(n))


def states(lake: Lake, key: str = "t") -> list[tuple[Any, ...]]:
    return [
        (v.content_hash, v.created_at, v.updated_at, v.value.to_pydict()) for v in lake.history(key)
    ]


@pytest.mark.parametrize("storage", ["folder", "catalog"])
def test_ibis_reads_all_parts_in_order(lake: Lake, tmp_path: Path, storage: str) -> None:
    with (
        lakebed.open(catalog=f"sqlite:///{tmp_path}/inline.db") if storage == "catalog" else lake
    ) as lake:
        grow(lake)
        lake.append("t", numbers(10))  # the same rows twice
        table = lake.table("t")
        assert table.to_pyarrow()["n"].to_pylist() == [*range(11), 10]
        assert table.filter(table.n > 8).count().to_pyarrow().as_py() == 3
        lake.append("t", pa.table({"n": [7], "text": ["a"]}), widen=True)
        lake.append("t", pa.table({"text": ["b"]}), widen=True)
        wide = lake.table("t").to_pyarrow()
        assert wide.equals(lake["t"].combine_chunks())
        lake.store("u", pa.table({"n": [1]}))
        both = lake.tables("").to_pyarrow()
        assert sorted(both["key"].to_pylist()) == ["t"] * 14 + ["u"]


def test_types_of_tables_are_compared_not_those_of_parts(lake: Lake) -> None:
    lake.append("a", pa.table({"n": pa.array([1], pa.int32())}))
    lake.append("a", numbers(2**40), widen=True)
    lake.store("b", numbers(3))
    assert sorted(lake.tables("").to_pyarrow()["n"].to_pylist()) == [1, 3, 2**40]
    lake.store("c", pa.table({"n": pa.array([1], pa.int32())}))
    with pytest.raises(QueryError, match=r"'n' is BIGINT in '[ab]' and INTEGER in 'c'"):
        lake.tables("")


def test_a_column_is_shown_that_only_an_append_without_rows_has_added(lake: Lake) -> None:
    lake.append("t", numbers(1))
    lake.append("t", pa.table({"n": pa.array([], pa.int64()), "a": pa.array([], pa.string())}),
                widen=True)  # fmt: skip
    wanted = [{"n": 1, "a": None}]
    assert lake["t"].to_pylist() == lake.table("t").to_pyarrow().to_pylist() == wanted
    lake["other"] = numbers(2)
    found = lake.tables("").order_by("n").to_pyarrow().to_pylist()
    assert found == [{"key": "t", **wanted[0]}, {"key": "other", "n": 2, "a": None}]


def test_a_copy_with_history_reads_as_its_source(lake: Lake, tmp_path: Path) -> None:
    grow(lake)
    lake.create_snapshot("s")
    lake.store("t/2", numbers(5), {"k": 1}, ttl=3600)
    lake.append("t/2", numbers(6))
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/copy.db", history="all") as copy:
        assert lakebed.copy(lake, copy, history=True, snapshots=True).differing == []
        assert states(copy) == states(lake)
        assert copy.at("s")["t"].equals(lake.at("s")["t"])
        theirs, ours = copy.entry("t/2"), lake.entry("t/2")
        assert theirs == ours
        assert copy.verify().problems == []


def test_a_copy_brings_the_parts_that_are_missing(lake: Lake, tmp_path: Path) -> None:
    lake.append("t", pa.table({"n": range(100_000)}))
    lake.append("t", numbers(1))
    with lakebed.open(tmp_path / "copy") as copy:
        assert lakebed.copy(lake, copy).bytes > 100_000
        lake.append("t", numbers(2))
        done = lakebed.copy(lake, copy, on_conflict="replace")
        assert (done.replaced, done.bytes < 3000) == (1, True)
        assert copy["t"].equals(lake["t"])
        copy.collect(grace=0)
        assert copy.verify().problems == []


def test_a_publication_has_it_as_one_file(lake: Lake, tmp_path: Path) -> None:
    grow(lake)
    done = lake.publish(tmp_path / "out", search=True)
    assert done.tables == 1
    (row,) = pq.read_table(tmp_path / "out" / "entries.parquet").to_pylist()
    assert row["format"] == "parquet"
    path = Path(unquote(row["table_uri"].removeprefix("file://")))
    assert pq.read_table(path).equals(lake["t"].combine_chunks())
    assert path.stat().st_size == row["byte_size"]
    (hit,) = lakebed.open_publication(tmp_path / "out").search(None)
    assert (hit.entry.rows, hit.value.num_rows) == (11, 11)


def test_a_damaged_part_is_named(lake: Lake, tmp_path: Path) -> None:
    grow(lake)
    row = lake._catalog.get("t")
    assert row is not None
    assert row.inline_value is not None
    part = decode_parts(row.inline_value).parts[0].content_hash.hex()
    (file,) = (tmp_path / "lake").glob(f"objects/{part[:2]}/{part}-*")
    data = file.read_bytes()
    file.write_bytes(b"\0" * len(data))
    with pytest.raises(CorruptionError, match=f"'t' .sha256:{part}"):
        lake.retrieve("t")
    (problem,) = lake.verify().problems
    assert "t" in problem.entry_keys
    file.unlink()
    with pytest.raises(CorruptionError, match="is missing"):
        lake.retrieve("t")
    with pytest.raises(CorruptionError, match="is missing"):
        lake.table("t")


def test_a_compaction_leaves_what_somebody_appends_to(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(lake, appends=3)
    staged = Lake._stage_part

    def overtaken(self: Lake, *args: Any, **kwargs: Any) -> Any:
        monkeypatch.undo()
        lake.append("t", numbers(99))
        return staged(self, *args, **kwargs)

    monkeypatch.setattr(Lake, "_stage_part", overtaken)
    assert lake.compact().parts_joined == 0
    assert lake["t"]["n"].to_pylist() == [0, 1, 2, 99]
    assert lake.compact().parts_joined == 4
    lake.collect(grace=0)
    assert lake.verify().problems == []


@pytest.mark.parametrize("call", ["append", "compact"])
def test_parts_that_somebody_else_has_joined_and_collected_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with lakebed.open(tmp_path / "lake") as lake, lakebed.open(tmp_path / "lake") as other:
        grow(lake, appends=7)  # the eighth joins them
        join = Lake._join

        def overtaken(self: Lake, *args: Any, **kwargs: Any) -> Any:
            monkeypatch.undo()
            other.append("t", numbers(99))
            other.collect(grace=0)
            return join(self, *args, **kwargs)

        monkeypatch.setattr(Lake, "_join", overtaken)
        if call == "append":
            assert lake.append("t", numbers(7)).rows == 9
        else:
            assert lake.compact().parts_joined == 0
        assert lake["t"]["n"].to_pylist() == [*range(7), 99, 7][: 9 if call == "append" else 8]
        assert lake.verify().problems == []


@pytest.mark.parametrize("call", ["retrieve", "retrieve_batch"])
@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_reader_looks_the_name_up_as_often_as_somebody_replaces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, call: str
) -> None:
    with lakebed.open(tmp_path / "lake") as lake, lakebed.open(tmp_path / "lake") as other:
        grow(lake, appends=2)
        decode, left = Lake._decode, [*range(times)]

        def overtaken(self: Lake, *args: Any) -> Any:
            if left and self is lake:
                other.append("t", numbers(left.pop()))
                other.collect(grace=3600)
            return decode(self, *args)

        monkeypatch.setattr(Lake, "_decode", overtaken)
        table = lake["t"] if call == "retrieve" else lake.retrieve_batch(["t"])["t"]
        assert table["n"].to_pylist() == [0, 1, *reversed(range(times))]


def test_a_batch_of_what_is_deleted_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lakebed.open(tmp_path / "lake") as lake, lakebed.open(tmp_path / "lake") as other:
        grow(lake, appends=2)
        decode = Lake._decode

        def overtaken(self: Lake, *args: Any) -> Any:
            other.delete("t")
            other.collect(grace=3600)
            return decode(self, *args)

        monkeypatch.setattr(Lake, "_decode", overtaken)
        found = lake.retrieve_batch(["t"])
        assert (dict(found), found.missing, found.errors) == ({}, ["t"], {})


@pytest.mark.parametrize("storage", ["folder", "catalog"])
@pytest.mark.parametrize("call", ["table", "tables"])
def test_ibis_shows_what_somebody_has_appended_and_collected_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str, call: str
) -> None:
    url = f"sqlite:///{tmp_path}/inline.db"
    where: Any = {"where": tmp_path / "lake"} if storage == "folder" else {"catalog": url}
    with lakebed.open(**where) as lake, lakebed.open(**where) as other:
        grow(lake, "a", appends=2)
        grow(lake, "b", appends=2)
        catalog: Any = lake._catalog
        locate = catalog.locate

        def overtaken(identity: Any) -> Any:
            monkeypatch.undo()
            for key in ("a", "b"):
                other.append(key, numbers(9))
            other.collect(grace=3600)
            return locate(identity)

        monkeypatch.setattr(catalog, "locate", overtaken)
        shown = lake.table("a") if call == "table" else lake.tables("")
        rows = [0, 1, 9] if call == "table" else [0, 0, 1, 1, 9, 9]
        assert sorted(shown.to_pyarrow()["n"].to_pylist()) == rows


def test_tables_in_the_catalog_that_somebody_replaces_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/inline.db"
    with lakebed.open(catalog=url) as lake, lakebed.open(catalog=url) as other:
        lake.store("a", numbers(0))
        catalog: Any = lake._catalog
        locate, left = catalog.locate, [1, 2, 3]

        def overtaken(identity: Any) -> Any:
            if left:
                other.store("a", numbers(left.pop(0)))
                other.collect(grace=3600)
            return locate(identity)

        monkeypatch.setattr(catalog, "locate", overtaken)
        assert lake.tables("").to_pyarrow()["n"].to_pylist() == [3]


def test_an_older_table_is_joined_only_by_older_than(lake: Lake) -> None:
    grow(lake, appends=3)
    assert lake.compact(older_than=3600).parts_joined == 0
    assert lake.maintain().compacted.parts_joined == 0


def test_presign_refuses_several_parts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(lake, appends=2)
    # On the object: a protocol remembers for ever which classes have it.
    monkeypatch.setattr(lake._objects, "sign", lambda *_: "url", raising=False)
    with pytest.raises(ConfigurationError, match="the table 't' has several parts"):
        lake.presign("t")
