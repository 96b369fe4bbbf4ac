"""Sessions in a folder of JSON files, which people read and edit."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lakebed.catalog.protocol import CatalogReads
from lakebed.errors import ConfigurationError, CorruptionError, StorageError, ValidationError
from lakebed.model import LAST_KEY
from lakebed.sessions import SessionManager
from lakebed.sessions.folder.lake import open_folder
from tests.waiting import until

PROJECT = Path(__file__).parents[2]


def files(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): json.loads(path.read_text())
        for path in sorted(folder.rglob("*.json"))
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "sessions of ours"


def test_files_are_readable(folder: Path) -> None:
    with SessionManager(open_folder(folder)) as manager:
        session = manager.create_session("Reise nach Süden", ["ada"])
        manager.add_memory(session.id, "fact", "wohin", "Paris", ["reise"])
        manager.create_task(session.id, "w", "t")
        task = manager.claim_task("w")
        assert task is not None
        task.complete()
    found = files(folder)
    memory = found[f"sessions/part/{session.id}/memory/fact/wohin.json"]
    assert isinstance(memory, dict)
    assert memory["value"]["content"] == "Paris"
    assert "Süden" in (folder / f"sessions/head/{session.id}.json").read_text()
    assert len(found) == 4  # head, activity, memory, task: nothing is left of the queue
    assert not (folder / "sessions" / "queue").exists()


def test_what_people_edit_is_seen(folder: Path) -> None:
    with SessionManager(open_folder(folder)) as manager:
        session = manager.create_session("s")
        manager.add_memory(session.id, "fact", "k", "old walrus")
        path = folder / f"sessions/part/{session.id}/memory/fact/k.json"
        told = json.loads(path.read_text())
        told["value"]["content"] = "new pelican"
        path.write_text(json.dumps(told))
        copied = told | {"key": told["key"] + "2", "value": told["value"] | {"key": "k2"}}
        path.with_name("k2.json").write_text(json.dumps(copied))
        # People's changes are looked for twice a second.
        until(lambda: len(manager.memories(session.id, text="pelican")) == 2)
        assert manager.memory(session.id, "fact", "k").content == "new pelican"
        assert manager.memories(session.id, text="walrus") == []
        path.unlink()
        until(lambda: [memory.key for memory in manager.memories(session.id)] == ["k2"])
        assert manager.load(session.id).memories == 1


def test_a_file_that_is_wrong_is_named(folder: Path) -> None:
    with SessionManager(open_folder(folder)) as manager:
        session = manager.create_session("s")
    path = folder / f"sessions/head/{session.id}.json"
    good = path.read_text()
    wrong = [
        ('{"key": ', CorruptionError, "not JSON"),
        ("[1]", ValidationError, "expected a JSON object"),
        ('{"key": "a", "value": NaN}', CorruptionError, "NaN"),
        ('{"key": "sessions/head/other", "value": 1}', CorruptionError, "sessions/head/other.json"),
        (good.replace('"value"', '"values"'), ValidationError, "unknown field 'values'"),
        (good.replace('"metadata": {', '"base64": "", "metadata": {'), ValidationError, "one of"),
    ]
    for text, kind, words in wrong:
        path.write_text(text)
        with open_folder(folder) as lake, pytest.raises(kind, match=words) as error:
            list(lake)
        assert str(path) in str(error.value)
    path.write_text(good)
    with SessionManager(open_folder(folder)) as manager:
        assert manager.load(session.id).title == "s"


HOSTILE = [
    "../../../escape", "..", ".", "/", "a/../../b", "/etc/passwd", "~", "x" * 400, "日本" * 60,
    "con", "a\\b", ".hidden", "%2e%2e", "-rf", "a\nb", "nul", "$(id)", "é" * 200,
]  # fmt: skip


def test_keys_never_lead_outside(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    with SessionManager(open_folder(folder)) as manager:
        session = manager.create_session("s")
        for name in HOSTILE:
            manager.add_memory(session.id, "fact", name, name)
        for key in ("../outside", "a//b", "/root", "./x", "a/./../../b", "sessions"):
            manager.lake.store(key, key)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    with SessionManager(open_folder(folder)) as again:
        memories = again.memories(session.id)
        assert {m.key: m.content for m in memories} == {name: name for name in HOSTILE}
        assert again.lake["../outside"] == "../outside"
        assert all(path.resolve().is_relative_to(folder) for path in folder.rglob("*"))


def test_symbolic_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.json").write_text('{"key": "link/x", "value": "secret"}')
    with open_folder(folder) as lake:
        lake.store("a", 1)
        (folder / "link").symlink_to(outside)
        (folder / "y.json").symlink_to(outside / "x.json")
        (folder / "z.json").write_text('{"key": "z", "value": 1}')
        until(lambda: "z" in lake)  # what people made is looked for twice a second
        assert list(lake) == ["a", "z"]


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigurationError, match=r"thesis\.tex"):
        open_folder(tmp_path)


def test_what_it_does_not_give_is_refused(folder: Path) -> None:
    with open_folder(folder) as lake:
        lake.store("a", 1)
        for call in (
            lambda: lake.create_snapshot("s"),
            lambda: lake.purge(key="a"),
            lambda: lake.maintain(),
            lambda: lake.restore("s"),
        ):
            with pytest.raises(ValidationError, match="JSON folder"):
                call()
        assert list(lake.snapshots()) == []
        lake.close()
        with pytest.raises(StorageError, match="closed"):
            lake.store("b", 1)


def test_a_killed_writer_is_finished_by_the_next(folder: Path) -> None:
    with open_folder(folder) as lake:
        lake.store("a", 1)
    # It died between its journal and the files.
    text = (folder / "a.json").read_text()
    journal = {"b.json": text.replace('"a"', '"b"'), "a.json": None}
    (folder / ".journal.json").write_text(json.dumps(journal))
    with open_folder(folder) as lake:
        assert dict(lake.items()) == {"b": 1}
    assert not (folder / ".journal.json").exists()


def test_a_disk_that_refuses_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder(folder) as lake:
        lake.store("a", 1)

        def refuse(*_: object, **__: object) -> int:
            raise OSError(28, "No space left on device", "a.json")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", refuse)
            for call in (lambda: lake.store("a", 2), lambda: lake.store("b", 2)):
                with pytest.raises(StorageError, match="No space left"):
                    call()
        assert dict(lake.items()) == {"a": 1}
        lake.store("b", 2)
        assert dict(lake.items()) == {"a": 1, "b": 2}


def test_processes_lose_no_change(folder: Path) -> None:
    code = (
        "import sys\n"
        "from lakebed.errors import ConflictError\n"
        "from lakebed.sessions.folder.lake import open_folder\n"
        "with open_folder(sys.argv[1]) as lake:\n"
        "    for _ in range(25):\n"
        "        while True:\n"
        "            entry = lake.entry('n')\n"
        "            try:\n"
        "                lake.store('n', entry.value + 1, if_match=entry.content_hash)\n"
        "                break\n"
        "            except ConflictError:\n"
        "                continue\n"
    )
    with open_folder(folder) as lake:
        lake.store("n", 0)
        run = [
            subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=PROJECT)
            for _ in range(3)
        ]
        assert [process.wait(60) for process in run] == [0, 0, 0]
        assert lake["n"] == 75


READS: dict[str, tuple[Any, ...]] = {
    "get": ("a",),
    "get_many": (["a", "b", "none"],),
    "page": ("", LAST_KEY, 10),
    "keys": ("", LAST_KEY, 10),
    "count": ("", LAST_KEY),
    "search": (lambda reading: reading.waiting(),),
    "locate": ((b"none", "json"),),
    "parts": ((b"none", "table"),),
    "stats": (),
}


def test_each_reading_call_of_a_catalog_is_answered(folder: Path) -> None:
    calls = {name for name, call in vars(CatalogReads).items() if inspect.isfunction(call)}
    assert {name for name in calls if not name.startswith("_")} == READS.keys()
    with open_folder(folder) as lake:
        lake.store_batch({"key": key, "value": key} for key in "abc")
        copy = lake._catalog._catalog  # type: ignore[attr-defined]
        for name, arguments in READS.items():
            wanted = getattr(copy, name)(*arguments)
            assert getattr(lake._catalog, name)(*arguments) == wanted, name
