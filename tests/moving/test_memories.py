"""Copies from and to memories of agents, and what names them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lakebed
from lakebed.errors import CatalogError, ConfigurationError, ReadOnlyError, ValidationError
from lakebed.ltm import create_ltm_backend, register_backend
from tests.moving.conftest import FEW, SOON, expiries, keys, metadata, values


class Shelf:
    """A memory of somebody else's, by the calls of the LTM interface alone."""

    kept: dict[str, tuple[Any, dict[str, Any]]]

    def __init__(self, refuses: str = "", shelves: dict[str, Any] | None = None) -> None:
        self.kept = {} if shelves is None else shelves
        self.refuses = refuses
        self.closed = False

    def iterate_all(self) -> Iterator[tuple[str, Any, dict[str, Any]]]:
        for key in sorted(self.kept):
            yield key, *self.kept[key]

    def store_batch(self, entries: Any, atomic: bool = True) -> dict[str, Any]:
        assert atomic
        for entry in entries:
            if entry["key"] == self.refuses:
                errors = {self.refuses: {"error": "not this one", "error_type": "storage_error"}}
                return {"success": False, "error": "not all", "errors": errors}
        for entry in entries:
            self.kept[entry["key"]] = entry["value"], entry["metadata"]
        return {"success": True, "errors": {}}

    def retrieve_batch(self, keys: Any) -> dict[str, Any]:
        found = {
            key: {"value": self.kept[key][0], "metadata": self.kept[key][1], "found": True}
            if key in self.kept
            else None
            for key in keys
        }
        return {"success": True, "entries": found}

    def close(self) -> None:
        self.closed = True


@FEW
@given(
    st.dictionaries(
        keys, st.tuples(values | st.binary(max_size=30), metadata, expiries), max_size=8
    )
)
def test_there_and_back(entries: dict[str, Any]) -> None:
    shelf = Shelf()
    with lakebed.open(":memory:") as lake, lakebed.open(":memory:") as again:
        for key, (value, found, expires_at) in entries.items():
            lake.store(key, value, found, expires_at=expires_at)
        report = lakebed.copy(lake, shelf)
        assert (report.copied, report.differing) == (len(entries), [])
        assert lakebed.copy(lake, shelf).unchanged == len(entries)
        assert lakebed.copy(shelf, again).differing == []
        for entry in lake.list():
            there = again.entry(entry.key)
            assert there is not None
            assert (repr(there.value), there.expires_at) == (repr(entry.value), entry.expires_at)
            moment = {"expires_at": entry.expires_at.isoformat()} if entry.expires_at else {}
            assert there.metadata == {**entry.metadata, **moment}
        assert lakebed.copy(shelf, again).unchanged == len(entries)
    assert not shelf.closed


def test_expiry_by_metadata(tmp_path: Path) -> None:
    shelf = Shelf(
        shelves={
            "offer": (1, {"expires_at": SOON.isoformat()}),
            "brief": (2, {"ttl": "1h"}),
            "gone": (3, {"expires_at": "2001-01-01T00:00:00+00:00"}),
        }
    )
    with lakebed.open(tmp_path / "lake") as lake:
        assert lakebed.copy(shelf, lake).copied == 2
        offer, brief = lake.entry("offer"), lake.entry("brief")
        assert offer is not None
        assert brief is not None
        assert offer.expires_at == SOON
        assert brief.expires_at is not None
        assert 0 < (brief.expires_at - datetime.now(UTC)).total_seconds() <= 3600
        assert lakebed.copy(shelf, lake).unchanged == 2  # the ttl does not begin anew
        lake.store("odd", 1, {"expires_at": "2039-01-01T00:00:00+00:00"})
        with pytest.raises(ValidationError, match="'odd' has another expires_at in its metadata"):
            lakebed.copy(lake, Shelf())
        lake.store("odd", 1, {"ttl": 5})
        with pytest.raises(ValidationError, match="'odd' does not expire, but the ttl"):
            lakebed.copy(lake, Shelf())
    with lakebed.open(":memory:") as lake:
        shelf.kept["wrong"] = 1, {"expires_at": "soon"}
        with pytest.raises(ValidationError, match=r"'wrong': metadata\.expires_at must be"):
            lakebed.copy(shelf, lake)
        assert len(lake) == 0


def test_what_it_does_not_store_is_an_error() -> None:
    with lakebed.open(":memory:") as lake:
        lake["a"], lake["b"] = 1, 2
        with pytest.raises(CatalogError, match="'b': not this one"):
            lakebed.copy(lake, Shelf(refuses="b"))


def test_by_url_and_by_configuration(tmp_path: Path) -> None:
    shelves: dict[str, Any] = {}
    made = list[Shelf]()

    def make(**options: Any) -> Any:
        made.append(Shelf(shelves=shelves, **options))
        return made[-1]

    register_backend("shelf", make)
    file = tmp_path / "shelf.yaml"
    file.write_text("backend: shelf\n")
    with lakebed.open(":memory:") as lake:
        lake["a"] = 1
        assert lakebed.copy(lake, "ltm+shelf://").copied == 1
        assert lakebed.copy(lake, file).unchanged == 1
        assert all(shelf.closed for shelf in made)
        lake["b"] = 1
        with pytest.raises(CatalogError, match="the memory 'shelf' did not store"):
            lakebed.copy(lake, "ltm+shelf://?refuses=b")
        with pytest.raises(ConfigurationError, match="ltm\\+shelf://\\?option=value"):
            lakebed.copy(lake, "ltm+shelf://b")
        with pytest.raises(ConfigurationError, match="unknown LTM backend 'shelves'"):
            lakebed.copy(lake, "ltm+shelves://")
        for url in ("json://a", "json:///", "diskcache://a/b"):
            with pytest.raises(ConfigurationError, match="needs a path"):
                lakebed.copy(lake, url)


def test_a_memory_of_ours_is_its_lake(tmp_path: Path) -> None:
    """So it keeps all, snapshots too."""
    with create_ltm_backend("sqlite", path=str(tmp_path / "a.db")) as memory:
        memory.store("a", 1, {"ttl": 3600})
        memory.lake.create_snapshot("s")
        memory.store("a", 2)
        report = lakebed.copy(memory, f"ltm+sqlite://?path={tmp_path}/b.db", snapshots=True)
        assert (report.snapshots, report.notes) == (1, [])
    with create_ltm_backend("sqlite", path=str(tmp_path / "b.db")) as copy:
        assert copy.lake.at("s")["a"] == 1
        assert copy.retrieve("a")["value"] == 2


@pytest.mark.parametrize("source", ["lake", "json"])
def test_a_storage_of_another_stays_as_it_is(tmp_path: Path, source: str) -> None:
    """A copy into a copied catalog would write where its original lives."""
    storage = tmp_path / "contents"
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/names.db", storage=storage) as production:
        production["report"] = "text " * 2000
    shutil.copy(tmp_path / "names.db", tmp_path / "copy.db")
    before = sorted(path for path in storage.rglob("*") if path.is_file())
    catalog = (tmp_path / "copy.db").read_bytes()
    with lakebed.open(tmp_path / "mine") as mine:
        mine["new"] = "other text " * 2000
        place: Any = mine
        if source == "json":
            lakebed.copy(mine, f"json:///{tmp_path}/json")
            place = f"json:///{tmp_path}/json"
        for on_conflict in ("fail", "replace"):
            with pytest.raises(ReadOnlyError, match="copy writes, but the catalog"):
                lakebed.copy(place, f"sqlite:///{tmp_path}/copy.db", on_conflict=on_conflict)
        assert mine.snapshots() == []
    assert sorted(path for path in storage.rglob("*") if path.is_file()) == before
    assert (tmp_path / "copy.db").read_bytes() == catalog
