"""Opening lakes whose catalog is a shared log."""

from __future__ import annotations

from pathlib import Path

import pytest

import lakebed
from lakebed.errors import ConfigurationError, ReadOnlyError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_in_the_lakes_own_storage(tmp_path: Path) -> None:
    with lakebed.open(catalog={"type": "bucket"}, storage=tmp_path / "lake") as lake:
        lake.store("a", {"n": 1})
        lake.store("large", "x" * 10_000)
    assert {path.name for path in (tmp_path / "lake").iterdir()} == {"log", "objects"}
    with lakebed.open(catalog="bucket://", storage=tmp_path / "lake") as lake:
        assert lake.retrieve("a") == {"n": 1}
        assert lake.retrieve("large") == "x" * 10_000
        assert not lake.verify().problems


def test_by_uri_without_a_storage(tmp_path: Path) -> None:
    for catalog in (
        {"type": "bucket", "uri": str(tmp_path / "names")},
        {"type": "bucket", "uri": f"file://{tmp_path}/names"},
        f"bucket://{tmp_path}/names",
        {"type": "bucket", "path": tmp_path / "names", "max_staleness": 0.5},
    ):
        with lakebed.open(catalog=catalog) as lake:
            lake.store("n", lake.retrieve("n", 0) + 1)
            last = lake.retrieve("n")
    assert last == 4


def test_several_lakes_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    lakes = [lakebed.open(catalog={"type": "bucket", "uri": str(tmp_path / name)}) for name in "ab"]
    for lake, value in zip(lakes, "ab", strict=True):
        lake.store("k", value)
    assert [lake.retrieve("k") for lake in lakes] == ["a", "b"]
    for lake in lakes:
        lake.close()


@pytest.mark.parametrize(
    ("catalog", "storage", "told"),
    [
        ({"type": "bucket"}, None, "give storage, or catalog.uri"),
        ({"type": "bucket", "prefix": "x"}, "lake", "unknown option 'prefix'"),
        ({"type": "bucket", "max_staleness": "1s"}, "lake", "catalog.max_staleness is '1s'"),
        ({"type": "bucket", "max_staleness": -1}, "lake", "expected seconds"),
        ({"type": "bucket", "uri": "memory://x"}, None, "only if it is absent"),
        ({"type": "bucket", "uri": "lake", "nonsense": 1}, None, "a local folder has no options"),
    ],
)
def test_what_cannot_be_opened(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    catalog: dict[str, object],
    storage: str | None,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=told):
        lakebed.open(catalog=catalog, storage=storage)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_read_only_puts_nothing(tmp_path: Path) -> None:
    place = {"catalog": {"type": "bucket"}, "storage": tmp_path / "lake"}
    with pytest.raises(ConfigurationError, match="read_only"):
        lakebed.open(**place, read_only=True)
    with lakebed.open(**place) as lake:
        lake.store("a", 1)
        before = sorted(tmp_path.joinpath("lake").rglob("*"))
        with lakebed.open(**place, read_only=True) as reader:
            assert reader.retrieve("a") == 1
            lake.store("a", 2)
            assert reader.retrieve("a") == 2
            with pytest.raises(ReadOnlyError):
                reader.store("b", 1)
            assert not reader.verify().problems
    assert len(sorted(tmp_path.joinpath("lake").rglob("*"))) == len(before) + 1


def test_a_copy_that_cannot_be_kept_goes_to_the_systems_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    place = {"catalog": {"type": "bucket"}, "storage": tmp_path / "lake"}
    with lakebed.open(**place, cache=tmp_path / "file") as lake:
        lake.store("a", 1)
    assert list((tmp_path / "temporary").rglob("0.db"))


def test_a_lake_that_was_made_anew_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    place = {"catalog": {"type": "bucket"}, "storage": tmp_path / "lake"}
    with lakebed.open(**place) as lake:
        lake.store("old", 1)
    (tmp_path / "lake").rename(tmp_path / "before")
    with lakebed.open(**place) as lake:
        assert list(lake) == []
        lake.store("new", 1)
    with lakebed.open(**place) as lake:
        assert list(lake) == ["new"]


def test_the_next_process_goes_on_from_the_copy(tmp_path: Path) -> None:
    place = {"catalog": {"type": "bucket"}, "storage": tmp_path / "lake"}
    with lakebed.open(**place) as lake:
        lake.store_batch({"key": f"k{n}", "value": n} for n in range(500))
    (copy,) = (tmp_path / "cache").rglob("0.db")
    assert copy.with_suffix(".json").exists()
    inode = copy.stat().st_ino
    with lakebed.open(**place) as lake:
        assert not copy.with_suffix(".json").exists()  # a killed process leaves none
        assert len(lake) == 500
    assert copy.stat().st_ino == inode
    copy.unlink()
    with lakebed.open(**place) as lake:
        assert len(lake) == 500
