"""A lake whose objects were copied elsewhere is opened there, once all of them are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import lakebed
from lakebed.cli.app import app
from lakebed.errors import ConfigurationError, ReadOnlyError, StorageError
from lakebed.lake.lake import Lake
from tests.buckets import S3Server

LARGE = "much to tell " * 1000


def fill(lake: Lake) -> None:
    lake["one"] = LARGE
    lake.store_batch({"key": f"packed/{n}", "value": f"{LARGE}{n}"} for n in range(4))
    lake["small"] = 1
    lake.create_snapshot("s")
    lake["one"] = LARGE + "!"
    lake.collect()
    lake.search("tell")


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """A folder with a copy of the catalog and the objects of a lake that is still there."""
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/names.db", storage=tmp_path / "files") as lake:
        fill(lake)
    folder = tmp_path / "backup"
    folder.mkdir()
    shutil.copy(tmp_path / "names.db", folder)
    shutil.copytree(tmp_path / "files", folder / "files")
    return folder


def check(lake: Lake) -> None:
    assert not lake.verify().problems
    assert lake["one"] == LARGE + "!"
    assert lake.at("s")["one"] == LARGE
    assert lake.search("tell").total >= 5


def test_a_backup_is_opened_elsewhere(backup: Path, tmp_path: Path) -> None:
    url, files = f"sqlite:///{backup}/names.db", backup / "files"
    with pytest.raises(ConfigurationError, match="relocate the lake"):
        lakebed.open(catalog=url, storage=files)
    shown: list[tuple[int, int | None]] = []
    with lakebed.open(
        catalog=url, storage=files, relocate=lambda done, total: shown.append((done, total))
    ) as copy:
        check(copy)
        assert not copy.read_only  # a storage of its own
        copy["new"] = LARGE + "?"
        copy.collect(grace=0, orphan_grace=0, orphans=True)
        check(copy)
    assert shown[-1] == (6, 6)
    with lakebed.open(catalog=url) as copy:
        check(copy)
        entry = copy.entry("new")
        assert entry is not None
        assert str(entry.storage_uri).startswith(files.as_uri())
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/names.db") as lake:  # the original goes on
        lake["new"] = LARGE
        lake.collect(grace=0)
        check(lake)


def test_what_is_missing_is_named_and_nothing_changes(backup: Path) -> None:
    url, files = f"sqlite:///{backup}/names.db", backup / "files"
    pack = next((files / "packs").iterdir())
    pack.unlink()
    path = next(path for path in (files / "objects").rglob("*.json"))
    path.write_bytes(b"cut")
    with pytest.raises(StorageError) as error:
        lakebed.open(catalog=url, storage=files, relocate=True)
    told = str(error.value)
    assert "5 of 6 objects are not in" in told
    assert f"packs/{pack.name} (of 'packed/" in told
    assert f"{path.name} (of 'one')" in told
    with lakebed.open(catalog=url) as copy:  # where it was, of which it is a copy
        assert copy.read_only
        assert copy["one"] == LARGE + "!"


def test_it_does_not_take_a_storage_that_is_in_use(backup: Path, tmp_path: Path) -> None:
    """Back at the original's own storage, the copy has to be adopted like any other."""
    url = f"sqlite:///{backup}/names.db"
    lakebed.open(catalog=url, storage=backup / "files", relocate=True).close()
    with lakebed.open(catalog=url, storage=tmp_path / "files", relocate=True) as copy:
        with pytest.raises(ReadOnlyError, match="`lakebed adopt`"):
            copy["new"] = 1
        assert copy["one"] == LARGE + "!"
    with lakebed.open(catalog=f"sqlite:///{tmp_path}/names.db") as lake:
        lake.collect(grace=0)
        check(lake)


@pytest.mark.usefixtures("backup")
def test_relocating_to_where_it_is_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/names.db"
    with lakebed.open(catalog=url, storage=tmp_path / "files", relocate=True) as lake:
        check(lake)
        lake["new"] = 1


@pytest.mark.parametrize("relocate", [True, lambda *_: None])
def test_what_cannot_be_relocated(tmp_path: Path, relocate: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs catalog and storage"):
        lakebed.open(tmp_path / "lake", relocate=relocate)
    lakebed.open(tmp_path / "lake").close()
    with pytest.raises(ConfigurationError, match="copy the folder"):
        lakebed.open(
            catalog=f"sqlite:///{tmp_path}/lake/catalog.db",
            storage=tmp_path / "lake",
            relocate=relocate,
        )
    with pytest.raises(ConfigurationError, match="read_only"):
        lakebed.open(
            catalog=f"sqlite:///{tmp_path}/names.db", storage="x", relocate=relocate, read_only=True
        )


def test_the_command_moves_a_configured_lake_to_a_bucket(
    backup: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = s3.storage(f"s3://{s3.create_bucket()}/new")
    options = {name: value for name, value in storage.items() if name != "uri"}
    monkeypatch.chdir(backup)
    lines = [f"    {name}: {value}" for name, value in options.items()]
    Path("lakebed.yaml").write_text(
        "backend: duckdb\ncatalog: {type: sqlite, path: names.db}\nstorage:\n"
        "    uri: s3://old/place\n" + "\n".join(lines) + "\n"
    )
    run = CliRunner().invoke
    found = run(app, ["--lake", "lakebed.yaml", "relocate", storage["uri"]])
    assert found.exit_code == 2
    assert "6 of 6 objects are not in" in found.stderr
    with lakebed.open(catalog=f"sqlite:///{backup}/other.db", storage=storage) as lake:
        filesystem = lake._objects._fs  # type: ignore[union-attr]
        bucket = storage["uri"].removeprefix("s3://")
        for path in (backup / "files").rglob("*"):
            if path.is_file():
                target = f"{bucket}/{path.relative_to(backup / 'files')}"
                filesystem.pipe_file(target, path.read_bytes())
    found = run(app, ["--lake", "lakebed.yaml", "relocate", storage["uri"]])
    assert found.exit_code == 0, found.stderr
    assert f"now keeps its objects in {storage['uri']}" in found.stdout
    text = Path("lakebed.yaml").read_text().replace("s3://old/place", storage["uri"])
    Path("lakebed.yaml").write_text(text)
    found = run(app, ["--lake", "lakebed.yaml", "get", "one"])
    assert found.stdout.strip() == f'"{LARGE}!"'
    assert "copy the whole folder" in run(app, ["--lake", "x", "relocate", "y"]).stderr
