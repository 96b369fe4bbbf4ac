"""Opening: what is a lake, what is not, and what each refusal says."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    CorruptionError,
    DependencyMissingError,
    LakebedError,
    ValidationError,
)

LARGE = "x" * 10_000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a program runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(folder: Path) -> None:
    with lakebed.open(folder) as lake:
        lake.store("small", 1, {"x": 1})
        lake.store("large", LARGE)


def test_no_argument(here: Path) -> None:
    with lakebed.open() as lake:
        lake.store("a", 1)
        assert "lakebed" in repr(lake)
    assert (here / "lakebed" / "catalog.db").is_file()
    with lakebed.open("lakebed") as lake:
        assert lake["a"] == 1


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder(here: Path, kind: Callable[[str], Any]) -> None:
    with lakebed.open(kind("some/dir")) as lake:
        lake.store("a", LARGE)
    (here / "empty").mkdir()
    with lakebed.open(kind("empty")) as lake:
        lake.store("a", LARGE)
        lake.store_batch([{"key": "b", "value": LARGE + "y"}])
        assert {path.name for path in (here / "empty").iterdir()} <= {
            "catalog.db",
            "catalog.db-wal",
            "catalog.db-shm",
            "objects",
            "packs",
        }
    assert {path.name for path in (here / "empty").iterdir()} == {"catalog.db", "objects", "packs"}


def test_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    with lakebed.open("~/mine") as lake:
        lake.store("a", LARGE)
        entry = lake.entry("a")
        assert entry is not None
        assert entry.storage_uri is not None
        assert entry.storage_uri.startswith(f"file://{here}/mine/objects/")


def test_memory(here: Path) -> None:
    with lakebed.open(":memory:") as lake:
        lake.store("a", LARGE)
        entry = lake.entry("a")
        assert entry is not None
        assert entry.inlined
    assert not list(here.iterdir())


def test_catalog_and_storage(here: Path) -> None:
    for catalog in ("sqlite:///names.db", {"type": "sqlite", "path": "names.db"}):
        with lakebed.open(catalog=catalog, storage="things") as lake:
            lake.store("a", LARGE)
    assert (here / "things" / "objects").is_dir()
    with lakebed.open(
        catalog=f"sqlite:///{here}/names.db", storage={"uri": here / "things"}
    ) as lake:
        assert lake["a"] == LARGE


def test_a_catalog_without_storage(here: Path) -> None:
    with lakebed.open(catalog="sqlite:///names.db", inline_threshold=10) as lake:
        lake.store("a", LARGE)
        assert lake.stats().inline_objects == 1
    assert [path.name for path in here.iterdir()] == ["names.db"]


def test_memory_storage_with_a_catalog_in_memory() -> None:
    with lakebed.open(catalog="sqlite://", storage="memory://there", inline_threshold=0) as lake:
        assert lake.store("a", LARGE).storage_uri
        assert lake["a"] == LARGE
        assert lake.stats().inline_objects == 0


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_a_lake_elsewhere(here: Path, move: Callable[[str, str], object]) -> None:
    fill(here / "lake")
    with lakebed.open("lake") as lake:
        lake.store_batch([{"key": "packed", "value": LARGE + "packed"}])
    move("lake", "else where %20ä")
    with lakebed.open("else where %20ä") as lake:
        assert dict(lake) == {"small": 1, "large": LARGE, "packed": LARGE + "packed"}
        uri = lake.store("new", LARGE + "new").storage_uri
        assert uri is not None
        assert uri.startswith(
            f"file://{here}/else%20where%20%2520%C3%A4/objects/".replace("//", "//")
        )
    if move is shutil.copytree:
        with lakebed.open("lake") as lake:
            assert "new" not in lake
            assert lake["large"] == LARGE


@pytest.mark.usefixtures("here")
def test_settings_are_settled() -> None:
    with lakebed.open("lake", inline_threshold=5) as lake:
        assert lake.store("a", b"123456").inlined is False
    with lakebed.open("lake") as lake:
        assert lake.store("b", b"12345").inlined is True
        assert lake.store("c", b"654321").inlined is False
    with pytest.raises(ConfigurationError, match=r"inline_threshold is '6'.*created with '5'"):
        lakebed.open("lake", inline_threshold=6)
    with pytest.raises(ConfigurationError, match=r"history is 'all'.*created with 'snapshots'"):
        lakebed.open("lake", history="all")
    lakebed.open("lake", inline_threshold=5, history="snapshots").close()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"where": 5}, ValidationError, "where must be the path of a folder, got int"),
        ({"where": b"lake"}, ValidationError, "where must be the path of a folder, got bytes"),
        ({"where": ""}, ConfigurationError, "where must not be empty"),
        ({"where": "missing.yaml"}, ConfigurationError, "missing.yaml"),
        ({"where": "s3://bucket/prefix"}, ConfigurationError, r"catalog=.*storage='s3://"),
        ({"where": "postgresql://u:secret@h/db"}, ConfigurationError, "catalog='postgresql://"),
        ({"where": "x", "catalog": "sqlite://"}, ConfigurationError, "cannot be combined"),
        ({"where": "x", "storage": "y"}, ConfigurationError, "cannot be combined"),
        ({"storage": "s3://bucket"}, ConfigurationError, "storage requires catalog"),
        ({"catalog": 5}, ValidationError, "got int"),
        ({"catalog": "names.db"}, ConfigurationError, "sqlite:///"),
        ({"catalog": "nodb://h/db"}, ConfigurationError, "nodb://"),
        ({"catalog": "sqlite://names.db"}, ConfigurationError, "sqlite:///names.db"),
        ({"catalog": "postgres"}, ConfigurationError, r"write catalog={'type': 'postgres', "),
        ({"catalog": {"path": "x"}}, ConfigurationError, "catalog.type"),
        ({"catalog": {"type": "sqlite"}}, ConfigurationError, "catalog.path"),
        ({"catalog": {"type": "sqlite", "path": "x", "pth": 1}}, ConfigurationError, "'pth'"),
        ({"catalog": "sqlite:///x", "storage": "memory://m"}, ConfigurationError, "memory://m"),
        ({"catalog": "sqlite:///x", "storage": {"uri": "memory://m"}}, ConfigurationError, "lost"),
        (
            {"catalog": "sqlite:///x", "storage": {"uri": "memory://m"}},
            ConfigurationError,
            "memory:",
        ),
        ({"catalog": "sqlite:///x", "storage": 5}, ConfigurationError, "storage"),
        ({"catalog": "sqlite:///x", "storage": ""}, ConfigurationError, "storage"),
        ({"catalog": "sqlite:///x", "storage": {"key": 1}}, ConfigurationError, "'uri'"),
        (
            {"catalog": "sqlite:///x", "storage": {"uri": "y", "key": 1}},
            ConfigurationError,
            "'key'",
        ),
        ({"catalog": "sqlite://", "storage": "nosuch://x"}, ConfigurationError, "nosuch"),
        ({"where": "x\0"}, ValidationError, "NUL"),
        ({"where": "x\ud800"}, ValidationError, "surrogate"),
        ({"catalog": "sqlite:///x\0"}, ValidationError, "NUL"),
        ({"catalog": "sqlite://", "storage": "x\ud800"}, ValidationError, "surrogate"),
        (
            {"where": "x", "inline_threshold": -1},
            ValidationError,
            "inline_threshold must be 0 or more, got -1",
        ),
        ({"where": "x", "inline_threshold": 1.5}, ValidationError, "inline_threshold"),
        ({"where": "x", "history": "some"}, ValidationError, "history must be .* got 'some'"),
        ({"where": "x", "durability": "none"}, ValidationError, "durability must be .* got 'none'"),
        ({"where": "x", "lock_timeout": -1}, ValidationError, "lock_timeout must be .* got -1"),
        (
            {"where": "x", "lock_timeout": float("inf")},
            ValidationError,
            "lock_timeout must be .* got inf",
        ),
        (
            {"where": "x", "lock_timeout": float("nan")},
            ValidationError,
            "lock_timeout must be .* got nan",
        ),
        (
            {"where": "x", "lock_timeout": 1e9},
            ValidationError,
            "lock_timeout must be .* got 1000000000",
        ),
        ({"where": "x", "lock_timeout": "60"}, ValidationError, "lock_timeout must be .* got '60'"),
        ({"where": "x", "nonsense": 1}, TypeError, "nonsense"),
    ],
    ids=repr,
)
def test_refused(
    here: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        lakebed.open(**arguments)
    assert "secret" not in str(caught.value)
    assert not list(here.iterdir())


def test_a_package_that_is_missing() -> None:
    with pytest.raises(DependencyMissingError, match="dropbox://"):
        lakebed.open(catalog="sqlite://", storage="dropbox://folder")


def test_a_file(here: Path) -> None:
    (here / "file").write_text("text")
    with pytest.raises(ConfigurationError, match=r"file is a file.*catalog='sqlite:///file'"):
        lakebed.open("file")
    assert (here / "file").read_text() == "text"


def test_a_foreign_folder(here: Path) -> None:
    (here / "photos").mkdir()
    (here / "photos" / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(ConfigurationError, match=r"photos is not a lake.*'cat.jpg'"):
        lakebed.open("photos")
    assert [path.name for path in (here / "photos").iterdir()] == ["cat.jpg"]


def test_a_lake_without_its_catalog(here: Path) -> None:
    fill(here / "lake")
    (here / "lake" / "catalog.db").unlink()
    with pytest.raises(ConfigurationError, match=r"catalog\.db is missing"):
        lakebed.open("lake")
    assert [path.name for path in (here / "lake").iterdir()] == ["objects"]


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + 4096] = b"\xa5" * len(data[at : at + 4096])
    path.write_bytes(data)


def test_a_damaged_catalog(here: Path) -> None:
    with lakebed.open("lake") as lake:
        lake.store_batch({"key": f"{n}", "value": "x" * 500} for n in range(500))
    good = (here / "lake" / "catalog.db").read_bytes()
    for at in (0, 2048, 8192, len(good) // 2, len(good) - 2048):
        (here / "lake" / "catalog.db").write_bytes(good)
        damage(here / "lake" / "catalog.db", at)
        try:
            with lakebed.open("lake") as lake:
                found = dict(lake)
                stats = lake.stats()
        except CorruptionError as error:
            assert "damaged" in str(error)  # noqa: PT017 - some damage meets nothing that is read
        else:
            assert set(found.values()) <= {"x" * 500}
            assert stats.entries == len(found)


@pytest.mark.parametrize(
    "content", [b"this is no database, but a text file\n" * 50, b"\x00" * 5000]
)
def test_no_database_at_all(here: Path, content: bytes) -> None:
    (here / "lake").mkdir()
    (here / "lake" / "catalog.db").write_bytes(content)
    with pytest.raises(CorruptionError, match=r"catalog\.db is damaged, or not a SQLite file"):
        lakebed.open("lake")
    assert (here / "lake" / "catalog.db").read_bytes() == content


def test_a_cut_catalog(here: Path) -> None:
    with lakebed.open("lake") as lake:
        lake.store_batch({"key": f"{n}", "value": "x" * 500} for n in range(500))
    path = here / "lake" / "catalog.db"
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(CorruptionError, match="damaged"), lakebed.open("lake") as lake:
        dict(lake)


def test_somebody_elses_database(here: Path) -> None:
    with closing(sqlite3.connect("theirs.db")) as db:
        db.execute("CREATE TABLE customers (name TEXT)")
        db.commit()
    before = (here / "theirs.db").read_bytes()
    with pytest.raises(ConfigurationError, match=r"other tables \(customers\) and no lake"):
        lakebed.open(catalog="sqlite:///theirs.db")
    assert (here / "theirs.db").read_bytes() == before
    assert [path.name for path in here.iterdir()] == ["theirs.db"]


def test_a_newer_catalog(here: Path) -> None:
    fill(here / "lake")
    with closing(sqlite3.connect("lake/catalog.db")) as db:
        db.execute("UPDATE lakebed_meta SET value = 999 WHERE name = 'schema_version'")
        db.commit()
    with pytest.raises(CatalogError, match=r"version 999.*newer Lakebed.*pip install -U"):
        lakebed.open("lake")


@pytest.mark.parametrize("name", ["schema_version", "inline_threshold", "storage", "history"])
def test_settings_that_are_lost(here: Path, name: str) -> None:
    fill(here / "lake")
    with closing(sqlite3.connect("lake/catalog.db")) as db:
        db.execute("DELETE FROM lakebed_meta WHERE name = ?", (name,))
        db.commit()
    with pytest.raises(CorruptionError, match="damaged"):
        lakebed.open("lake")


def test_a_failed_opening_leaves_nothing_open(here: Path) -> None:
    fill(here / "lake")
    for _ in range(3):
        with pytest.raises(LakebedError):
            lakebed.open("lake", inline_threshold=1)
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not [link for link in links if link.startswith(str(here))]


def test_a_closed_lake_leaves_no_log(here: Path) -> None:
    fill(here / "lake")
    assert {path.name for path in (here / "lake").iterdir()} == {"catalog.db", "objects"}
