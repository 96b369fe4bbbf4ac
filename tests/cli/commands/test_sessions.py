"""lakebed session: what agents share, from the shell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lakebed.sessions import SessionManager
from lakebed.sessions.folder.lake import open_folder
from tests.cli.conftest import Cli

Data = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORAGE_BACKEND", "SESSIONS_PATH", "DATABASE_URL", "POSTGRES_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def session_id(cli: Cli) -> str:
    return cli("session", "create", "Trip", "-p", "ada", "-p", "w").stdout.strip()


def test_a_session_from_the_shell(cli: Cli, data: Data, session_id: str, folder: Path) -> None:
    chunk = cli("session", "add", "chunk", session_id, "-", input="hello\nzebra").stdout.strip()
    assert data("session", "add", "memory", session_id, "fact", "k", '{"a": 1}', "-t", "x")[
        "content"
    ] == {"a": 1}
    cli("session", "add", "memory", session_id, "fact", "k", "2", "--if-absent", code=2)
    (folder / "a.py").write_text("print(1)\n")
    added = cli("session", "add", "artifact", session_id, "code/src/a.py", "--file", "a.py")
    assert added.stdout.startswith("code/src/a.py, version ")
    listed = data("session", "list", "--participant", "ada", "--status", "active")
    assert [(s["id"], s["chunks"], s["memories"]) for s in listed] == [(session_id, 1, 1)]
    assert "Trip" in cli("session", "list").stdout
    page = cli("session", "show", session_id).stdout
    assert page.startswith("# Trip")
    assert "print(1)" in page
    assert data("session", "show", session_id)["artifacts"] == 1
    found = data("session", "search", "zebra", "--session", session_id)
    assert [hit["kind"] for hit in found["hits"]] == ["chunk"]
    assert found["hits"][0]["key"].endswith(chunk)
    assert "1 of 1 hits" in cli("session", "search", "zebra").stdout
    assert "code/src/a.py" in cli("session", "artifacts", session_id).stdout
    assert cli("session", "artifacts", session_id, "code/src/a.py").stdout == "print(1)\n\n"
    cli("session", "artifacts", session_id, "code/src/a.py", "-o", "b.py")
    assert (folder / "b.py").read_text() == "print(1)\n"


def test_tasks_from_the_shell(cli: Cli, data: Data, session_id: str) -> None:
    for priority in ("0", "5"):
        cli("session", "add", "task", session_id, "w", "look", '{"q": 1}', "--priority", priority)
    claimed = data("session", "claim", "w", "--as", "human", "--lease", "60")
    assert (claimed["priority"], claimed["claimed_by"]) == (5, "human")
    cli("session", "complete", claimed["id"], "--claim", "wrong", code=2)
    done = data("session", "complete", claimed["id"], "[1]", "--claim", claimed["claim"])
    assert (done["status"], done["output"]) == ("completed", [1])
    cli("session", "complete", claimed["id"], code=2)
    second = data("session", "claim", "w")
    assert "pending" in cli("session", "fail", second["id"], "no network").stdout
    cli("session", "claim", "w")
    assert data("session", "fail", second["id"], "never", "--no-retry")["status"] == "failed"
    assert "no task" in cli("session", "claim", "w", code=1).stderr
    assert data("session", "claim", "w", "--wait", "0.1", code=1) is None
    assert len(cli("session", "tasks", session_id).stdout.splitlines()) == 2
    assert [t["status"] for t in data("session", "tasks", "--status", "failed")] == ["failed"]
    assert data("session", "tasks", "--agent", "nobody") == []


def test_export_import_and_migrate(cli: Cli, data: Data, session_id: str, folder: Path) -> None:
    cli("session", "add", "chunk", session_id, "hello")
    assert cli("session", "export", session_id).stdout.startswith("# Trip")
    cli("session", "export", session_id, "--format", "json", "-o", "t.json")
    assert data("--lake", "other", "session", "import", "t.json")["stored"] == 3
    assert data("--lake", "other", "session", "import", "t.json")["unchanged"] == 3
    (folder / "bad.json").write_text("[1")
    assert "not JSON" in cli("session", "import", "bad.json", code=2).stderr
    assert data("session", "migrate", "lakebed", "json:files")["stored"] == 3
    assert data("session", "migrate", "json:files", "lakebed") == {
        "stored": 0, "unchanged": 3, "left": 0,
    }  # fmt: skip
    with SessionManager(open_folder(folder / "files")) as manager:
        assert [s.id for s in manager.list_sessions()] == [session_id]
    assert [s["id"] for s in data("--lake", "json:files", "session", "list")] == [session_id]
    cli("session", "migrate", "json:nowhere", "lakebed", code=2)
    cli("session", "migrate", "lakebed", "lakebed", code=2)
    assert not (folder / "nowhere").exists()


def test_the_environment_names_the_backend(
    cli: Cli, data: Data, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_BACKEND", "json")
    made = data("session", "create", "T")
    head = folder / "sessions" / "sessions" / "head" / f"{made['id']}.json"
    assert json.loads(head.read_text())["value"]["title"] == "T"
    monkeypatch.setenv("STORAGE_BACKEND", "sqlite")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{folder}/s.db")
    data("session", "create", "S")
    assert (folder / "s.db").exists()
    monkeypatch.setenv("STORAGE_BACKEND", "nonsense")
    assert "nonsense" in cli("session", "list", code=2).stderr


def test_a_configuration_names_the_backend(cli: Cli, data: Data, folder: Path) -> None:
    (folder / "c.yaml").write_text(
        "settings:\n  ltm: {backend: sqlite, path: m.db}\n"
        "  sessions: {backend: json, path: agents}\n"
    )
    made = data("--lake", "c.yaml", "session", "create", "T")
    assert (folder / "agents" / "sessions" / "head" / f"{made['id']}.json").exists()
    (folder / "d.yaml").write_text("settings:\n  sessions: {backend: sqlite, path: s.db}\n")
    data("--lake", "d.yaml", "session", "create", "T")
    assert (folder / "s.db").exists()
    (folder / "e.yaml").write_text("settings:\n  sessions: {backend: json, folder: x}\n")
    failed = cli("--lake", "e.yaml", "session", "list", code=2)
    assert "settings.sessions.folder" in failed.stderr


def test_mistakes_are_told_in_a_line(cli: Cli, session_id: str) -> None:
    for arguments in (
        ("show", "0nobody00000"), ("show", "../x"), ("add", "chunk", session_id, ""),
        ("add", "memory", session_id, "rumour", "k", "1"),
        ("add", "artifact", session_id, "a", "x"),
        ("artifacts", session_id, "code/none"), ("complete", "x"), ("list", "--status", "asleep"),
        ("list", "--since", "yesterday"), ("claim", "w", "--lease", "0"),
    ):  # fmt: skip
        failed = cli("session", *arguments, code=1 if "none" in arguments[-1] or
                     "0nobody" in arguments[-1] else 2)  # fmt: skip
        assert failed.stderr.startswith("lakebed: ")
        assert failed.stderr.count("\n") == 1
