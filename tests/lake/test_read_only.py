"""A lake that may only be read: all reading calls work, no file is touched, writing is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import lakebed
from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.cli.app import app
from lakebed.config.reading.loading import load
from lakebed.errors import CatalogError, ConfigurationError, ReadOnlyError, StorageError
from lakebed.lake.lake import Lake
from lakebed.lake.opening import assemble
from lakebed.ltm import create_ltm_backend
from lakebed.objects.opening import open_store
from lakebed.testing.faults import FaultyStore

TABLE = pa.table({"n": [1, 2, 3]})
LARGE = "many words " * 1000
MOUNT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")

WRITES: dict[str, Callable[[Lake], object]] = {
    "store": lambda lake: lake.store("new", 1),
    "store a large one": lambda lake: lake.store("new", LARGE + "!"),
    "lake[key] = value": lambda lake: lake.__setitem__("new", 1),
    "update": lambda lake: lake.update({"new": 1}),
    "setdefault": lambda lake: lake.setdefault("new", 1),
    "delete": lambda lake: lake.delete("a"),
    "pop": lambda lake: lake.pop("a"),
    "store_batch": lambda lake: lake.store_batch([{"key": "new", "value": 1}]),
    "store_batch in part": lambda lake: lake.store_batch(
        [{"key": "new", "value": 1}], atomic=False
    ),
    "transaction": lambda lake: lake.transaction(),
    "create_snapshot": lambda lake: lake.create_snapshot("new"),
    "drop_snapshot": lambda lake: lake.drop_snapshot("s"),
    "restore": lambda lake: lake.restore("s"),
    "purge": lambda lake: lake.purge("a"),
    "cleanup_expired": lambda lake: lake.cleanup_expired(),
    "compact": lambda lake: lake.compact(),
    "collect": lambda lake: lake.collect(grace=0),
    "collect orphans": lambda lake: lake.collect(orphans=True),
    "maintain": lambda lake: lake.maintain(),
    "repair": lambda lake: lake.verify(repair=True),
    "publish": lambda lake: lake.publish("published"),
}


def fill(lake: Lake) -> None:
    lake["a"], lake["large"], lake["t"] = 1, LARGE, TABLE
    lake.store("b", "some words", {"kind": "x", "n": 5})
    lake.store_batch(
        {"key": f"p{n}", "value": f"packed {n} " * 900, "metadata": {"n": n}} for n in range(30)
    )
    lake.create_snapshot("s")
    lake["a"] = 2
    lake.delete("p1")
    lake.store("gone", 1, ttl=0.000001)


def read_everything(lake: Lake, publish_to: Path | None = None) -> dict[str, object]:
    """The answers of all reading calls, without what differs between two openings."""
    view = lake.at("s")
    entry = lake.entry("b")
    assert entry is not None
    answers = {
        "values": {key: value for key, value in lake.items() if key != "t"},
        "table": lake["t"].to_pydict(),
        "batch": sorted(lake.retrieve_batch(["a", "large", "none"])),
        "entry": (entry.metadata, entry.version, "none" in lake, len(lake)),
        "filter": [e.key for e in lake.list(metadata_filter={"n": {"$gt": 27}})],
        "history": [v.version for v in lake.history("a")],
        "snapshots": [s.name for s in lake.snapshots()],
        "then": {key: value for key, value in view.items() if key != "t"},
        "diff": [e.key for e in lake.diff("s").added] + [e.key for e in lake.diff("s").removed],
        "search": [hit.key for hit in lake.search("packed words", limit=50)],
        "search then": view.search("some", limit=50).total,
        "sql": lake.sql("SELECT count(*), max(key) FROM documents").fetchall(),
        "sql then": view.sql("SELECT count(*) FROM entries").fetchall(),
        "ibis": lake.table("t").execute().to_dict(),
        "stats": dict(lake.stats()),
        "verify": list(lake.verify().problems),
        "dry": (
            lake.collect(dry_run=True).objects,
            lake.purge("a", dry_run=True).entries,
            lake.restore("s", dry_run=True).removed,
            lake.compact(dry_run=True).flushed,
            lake.maintain(dry_run=True).finished,
            lake.cleanup_expired(dry_run=True).deleted,
        ),
    }
    if publish_to is not None:
        answers["publish"] = lake.publish(publish_to, snapshot="s").entries
    return {name: str(answer) for name, answer in answers.items()}


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder, its number, size and time of change."""
    return {
        str(path.relative_to(folder)): (found.st_ino, found.st_size, found.st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
        for found in [path.stat()]
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
    return tmp_path / "lake"


@pytest.fixture
def read_only_disk(folder: Path, tmp_path: Path) -> Iterator[Path]:
    """The lake once more, on a file system that is mounted read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    for arguments in (["--bind", tmp_path, place], ["-o", "remount,bind,ro", place]):
        ran = subprocess.run(["mount", *arguments], capture_output=True, check=False, text=True)
        if ran.returncode:
            pytest.skip(f"mounting is not allowed here: {ran.stderr.strip()}")
    yield place / "lake"
    subprocess.run(["umount", "--lazy", place], check=True)
    del folder


def test_reading_touches_nothing(folder: Path, tmp_path: Path) -> None:
    with lakebed.open(folder) as lake:
        wanted = read_everything(lake, tmp_path / "one")
    before = state(folder)
    with lakebed.open(folder, read_only=True) as lake:
        assert lake.read_only
        assert lake.at("s").read_only
        assert read_everything(lake, tmp_path / "two") == wanted
        assert state(folder) == before
    assert state(folder) == before


@MOUNT
@pytest.mark.parametrize("log", ["closed", "killed", "copied without its index"])
def test_a_read_only_file_system(
    folder: Path, tmp_path: Path, read_only_disk: Path, log: str
) -> None:
    """However the lake was left: with its log written back, with a log, with a log that SQLite
    would have to make an index for."""
    if log != "closed":
        program = "import lakebed, os, sys; lakebed.open(sys.argv[1])['late'] = 5; os._exit(9)"
        subprocess.run([sys.executable, "-c", program, folder], check=False)
        assert (folder / "catalog.db-wal").stat().st_size
    if log == "copied without its index":
        (folder / "catalog.db-shm").unlink()
    twin = tmp_path / "twin"
    shutil.copytree(folder, twin)
    with lakebed.open(twin) as lake:
        wanted = read_everything(lake)
    before = state(folder)
    with lakebed.open(read_only_disk, read_only=True) as lake:
        assert read_everything(lake) == wanted
        assert lake.get("late") == (None if log == "closed" else 5)
    assert state(folder) == before
    if log == "copied without its index":
        return
    with pytest.raises(StorageError, match="read_only=True") as caught:
        lakebed.open(read_only_disk)["new"] = 1
    assert not isinstance(caught.value, ReadOnlyError)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_a_folder_of_somebody_else() -> None:
    """By file permissions: another user reads it, in a process of its own."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        with lakebed.open(Path(name) / "lake") as lake:
            fill(lake)
        program = """
import os, sys, lakebed

def read():
    with lakebed.open(sys.argv[1], read_only=True) as lake:
        words = lake.search("words").total
        return len(lake), lake["a"], words, lake.sql("SELECT count(*) FROM entries").fetchall()

read()  # Python's own files may be another's too: load them first
os.setgid(65534), os.setuid(65534)
try:
    lakebed.open(sys.argv[1])["new"] = 1
except lakebed.errors.StorageError as error:
    print(error)
print(read())
"""
        ran = subprocess.run(
            [sys.executable, "-c", program, f"{name}/lake"],
            capture_output=True,
            check=False,
            text=True,
            env={**os.environ, "HOME": "/nonexistent"},
        )
        assert ran.returncode == 0, ran.stderr
        refused, answers = ran.stdout.splitlines()
        assert "read_only=True" in refused
        assert answers == "(33, 2, 2, [(33,)])"


@pytest.mark.parametrize("call", WRITES)
def test_writing_is_refused_before_anything_happens(
    folder: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    before = state(folder.parent)
    with lakebed.open(folder, read_only=True) as lake:
        with pytest.raises(ReadOnlyError, match="read_only=True") as caught:
            WRITES[call](lake)
        assert caught.value.error_type == "read_only"
        assert lake["a"] == 2
    assert state(folder.parent) == before


def test_the_catalog_refuses_what_a_lake_does_not(folder: Path) -> None:
    """A face that goes past the lake's calls meets the same error."""
    before = state(folder)
    with lakebed.open(folder, read_only=True) as lake:
        for write in (
            lambda: lake._catalog.lease(["objects/x"], 5),
            lambda: lake._catalog.commit(()),
            lambda: lake._catalog.purge("a", "b", 5),
        ):
            with pytest.raises(ReadOnlyError):
                write()
    assert state(folder) == before


def test_a_writer_beside(folder: Path) -> None:
    """What others write is seen by the next read: with their log open, and after they closed."""
    with lakebed.open(folder, read_only=True) as reader:
        assert reader["a"] == 2
        for number in range(3):
            with lakebed.open(folder) as writer:
                writer["a"] = f"{number}"
                assert reader["a"] == f"{number}"
                writer.store_batch({"key": f"n{number}/{n}", "value": n} for n in range(50))
                assert len(list(reader.list(f"n{number}/"))) == 50
            assert reader["a"] == f"{number}"
            assert reader.sql("SELECT value FROM documents WHERE key = 'a'").fetchall()


def test_written_while_it_is_read(folder: Path) -> None:
    """A transaction that read a file as one that does not change is told when it did."""

    def read(reader: Lake) -> None:
        with reader._catalog._executor.reading(lambda tx: tx) as tx:  # type: ignore[attr-defined]
            tx.all("SELECT * FROM entry", {})
            with lakebed.open(folder) as writer:  # writes its log back when it closes
                writer["a"] = 3

    with lakebed.open(folder, read_only=True) as reader:
        with pytest.raises(CatalogError, match="read it again"):
            read(reader)
        assert reader["a"] == 3
        executor = reader._catalog._executor  # type: ignore[attr-defined]
        with executor.reading(lambda tx: tx) as tx:
            writer = lakebed.open(folder)
            writer["a"] = 4  # in a log, which this transaction does not see
            assert len(tx.all("SELECT * FROM entry", {}))
        writer.close()
        assert reader["a"] == 4


def test_threads_and_forks(folder: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with lakebed.open(folder, read_only=True) as lake, ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: lake["large"], range(50))) == {LARGE}
        child = os.fork()
        if child == 0:
            os._exit(0 if lake["a"] == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert lake["a"] == 2


def test_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = state(tmp_path)
    for where in ("missing", "empty"):
        with pytest.raises(ConfigurationError, match="is not a lake"):
            lakebed.open(tmp_path / where, read_only=True)
    with pytest.raises(StorageError, match="no catalog"):
        lakebed.open(catalog=f"sqlite:///{tmp_path}/c.db", read_only=True)
    with pytest.raises(ConfigurationError, match="in memory"):
        lakebed.open(":memory:", read_only=True)
    with pytest.raises(lakebed.errors.ValidationError, match="read_only"):
        lakebed.open(tmp_path / "empty", read_only="yes")  # type: ignore[arg-type]
    assert state(tmp_path) == before


def test_a_bucket_without_the_right_to_write(tmp_path: Path) -> None:
    """Every write, delete and unfinished upload fails there; none is tried."""
    uri = f"memory://read-only-{os.getpid()}"
    with assemble(open_sqlite(tmp_path / "c.db", CatalogOptions()), open_store(uri), uri) as lake:
        fill(lake)
        wanted = read_everything(lake)
    store = FaultyStore(open_store(uri))
    opened = open_sqlite(tmp_path / "c.db", CatalogOptions(read_only=True))
    with assemble(opened, store, uri, read_only=True) as lake:
        assert read_everything(lake) == wanted
        for call in WRITES.values():
            with pytest.raises(ReadOnlyError):
                call(lake)
    assert not {call.name for call in store.calls} & {"write", "open_write", "delete"}


def test_configuration_command_line_and_ltm(folder: Path, tmp_path: Path) -> None:
    before = state(folder)
    file = tmp_path / "lakebed.yaml"
    file.write_text(f"backend: ducklake\npath: {folder}\nread_only: true\n")
    assert load(file).settings.open_options()["read_only"] is True
    with lakebed.open(file) as lake, pytest.raises(ReadOnlyError):
        lake["a"] = 3
    file.write_text(f"backend: ducklake\npath: {folder}\n")
    with lakebed.open(file, read_only=True) as lake, pytest.raises(ReadOnlyError):
        lake["a"] = 3
    with create_ltm_backend("ducklake", path=str(folder), read_only=True) as ltm:
        assert ltm.retrieve("a")["value"] == 2
        assert ltm.store("a", 3)["error_type"] == "read_only"
        assert ltm.store_batch([{"key": "a", "value": 3}])["error_type"] == "read_only"

    def run(*arguments: str) -> Any:
        given = ["--lake", str(folder), "--read-only", *arguments]
        return CliRunner().invoke(app, given, prog_name="lakebed", catch_exceptions=False)

    assert run("get", "a").stdout == "2\n"
    assert run("search", "packed").exit_code == 0
    refused = run("put", "a", "3")
    assert refused.exit_code == 2
    assert "read_only=True" in refused.stderr
    assert state(folder) == before
