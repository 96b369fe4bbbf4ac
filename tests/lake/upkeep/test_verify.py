"""What verify finds when rows of the catalog do not fit the files, and files cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import lakebed
from lakebed.errors import CorruptionError
from lakebed.lake.lake import Lake

LARGE = "a large value " * 40


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with lakebed.open(tmp_path, inline_threshold=100, history="all") as lake:
        yield lake


def pack(lake: Lake) -> None:
    lake.store_batch({"key": f"p/{n}", "value": f"{LARGE}{n}"} for n in range(4))


def change(folder: Path, *statements: str) -> None:
    """What no lake would do to its catalog."""
    with closing(sqlite3.connect(folder / "catalog.db", isolation_level=None)) as catalog:
        for statement in statements:
            catalog.execute(statement)


def key_of(lake: Lake, number: int) -> str:
    (naming,) = lake._catalog.names(number)
    return naming.key


@pytest.mark.parametrize(("taken", "by"), [(1, 2), (2, 1)])
def test_two_contents_at_one_place(lake: Lake, tmp_path: Path, taken: int, by: int) -> None:
    pack(lake)
    move = "UPDATE object SET position = (SELECT position FROM object WHERE id = %d) WHERE id = %d"
    change(tmp_path, move % (taken, by))
    (problem,) = lake.verify().problems
    assert (problem.kind, problem.entry_keys) == ("damaged", [key_of(lake, by)])


def test_a_place_that_is_none_stops_neither_verification_nor_compaction(
    lake: Lake, tmp_path: Path
) -> None:
    pack(lake)
    change(
        tmp_path, "UPDATE object SET position = 'nowhere' WHERE id = 1", "UPDATE pack SET dead=9"
    )
    (problem,) = lake.verify().problems
    assert (problem.kind, problem.entry_keys) == ("damaged", [key_of(lake, 1)])
    done = lake.maintain().compacted
    assert (done.repacked, done.damaged) == (3, 1)
    assert len(lake.verify().problems) == 1


def test_a_pack_that_has_no_row(lake: Lake, tmp_path: Path) -> None:
    pack(lake)
    change(tmp_path, "DELETE FROM pack")
    problems = lake.verify().problems
    assert {problem.entry_keys[0] for problem in problems} == set(lake)
    assert all("neither a file nor a pack" in problem.text for problem in problems)
    with pytest.raises(CorruptionError, match="neither a file nor a pack"):
        lake.retrieve("p/1")


@pytest.mark.parametrize("value", [LARGE, "small"])
def test_a_wrong_size(lake: Lake, tmp_path: Path, value: str) -> None:
    lake["k"] = value
    change(tmp_path, "UPDATE object SET byte_size = 7000")
    (problem,) = lake.verify().problems
    assert problem.entry_keys == ["k"]
    assert "the catalog says 7000" in problem.text


@pytest.fixture
def replaced(lake: Lake) -> Lake:
    """A large value that only a snapshot sees."""
    lake["k"] = LARGE
    lake.create_snapshot("s")
    lake["k"] = 1
    return lake


def test_the_key_of_an_earlier_value_is_named(replaced: Lake, tmp_path: Path) -> None:
    for file in tmp_path.glob("objects/*/*"):
        file.unlink()
    (problem,) = replaced.verify().problems
    assert problem.entry_keys == []
    assert problem.snapshots == ["s"]
    assert "earlier value of key 'k': snapshot 's': content sha256:" in problem.text


def test_an_earlier_value_without_an_object(replaced: Lake, tmp_path: Path) -> None:
    change(tmp_path, "DELETE FROM object WHERE uri IS NOT NULL")
    (problem,) = replaced.verify(repair=True).problems
    assert (problem.kind, problem.entry_keys, problem.snapshots) == ("no object", [], ["s"])
    assert not problem.repaired
    assert problem.text == "earlier value of key 'k': snapshot 's': no object: 1"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO pending SELECT uri, 1 FROM object WHERE uri IS NOT NULL",
        "INSERT INTO pending SELECT uri, 1 FROM pack",
    ],
    ids=["object", "pack"],
)
def test_a_lease_on_what_is_in_use(lake: Lake, tmp_path: Path, statement: str) -> None:
    """When it runs out, collection would take the file for an upload that was broken off."""
    pack(lake)
    lake["k"] = LARGE
    change(tmp_path, statement)
    (problem,) = lake.verify(repair=True).problems
    assert (problem.kind, problem.repaired) == ("lease in use", True)
    lake.collect(grace=0)
    assert not lake.verify().problems


@pytest.mark.parametrize("become", ["folder", "loop"])
def test_a_file_that_cannot_be_read_stops_no_verification(
    lake: Lake, tmp_path: Path, become: str
) -> None:
    lake["k"] = LARGE
    lake["other"] = LARGE + "other"
    entry = lake.entry("k")
    assert entry is not None
    (path,) = tmp_path.glob(f"objects/*/{entry.content_hash.removeprefix('sha256:')}*")
    path.unlink()
    if become == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    (problem,) = lake.verify(repair=True).problems
    assert (problem.entry_keys, problem.repaired) == (["k"], False)
    assert entry.content_hash in problem.text
    with pytest.raises(CorruptionError, match="'k'"):
        lake.retrieve("k")
    assert lake.collect(grace=0, orphan_grace=0, orphans=True).orphans == 0
