"""Sessions that move between lakes, again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from lakebed.errors import NotFoundError, ValidationError
from lakebed.sessions import SessionManager
from lakebed.sessions.moving.files import export_session, import_session
from lakebed.sessions.moving.moving import bring, entries_of
from lakebed.sessions.moving.page import markdown
from tests.sessions.backends import open_sessions


@pytest.fixture
def source(tmp_path: Path) -> Iterator[SessionManager]:
    with open_sessions(f"json:{tmp_path}/source") as manager:
        yield manager


def fill(manager: SessionManager) -> str:
    session = manager.create_session("Trip", ["ada"])
    manager.add_chunk(session.id, "hello\nworld", "summary", [1])
    manager.add_memory(session.id, "fact", "a/b", {"x": [1]}, ["t"])
    manager.add_artifact(session.id, "code", "a.py", "print(1)")
    manager.add_artifact(session.id, "research", "numbers", pa.table({"a": [1]}))
    manager.add_artifact(session.id, "document", "raw", b"\x00\xff")
    for n in range(4):
        manager.create_task(session.id, "w", f"t{n}", {"n": n}, priority=-n)
    done = manager.claim_task("w")
    assert done is not None
    done.complete({"ok": True})
    manager.register_agent("w")
    return session.id


def shown(manager: SessionManager, session_id: str) -> list[object]:
    artifacts = [
        {**dict(a), "version": 0, "content_hash": "", "content": str(a.content)}
        for a in manager.artifacts(session_id)
    ]
    head = dict(manager.load(session_id))
    return [
        head, list(map(dict, manager.chunks(session_id))),
        list(map(dict, manager.memories(session_id))), list(map(dict, manager.tasks(session_id))),
        artifacts, list(map(dict, manager.agents())),
    ]  # fmt: skip


def test_moving_again_makes_no_doubles(source: SessionManager, manager: SessionManager) -> None:
    session_id = fill(source)
    first = bring(manager.lake, entries_of(source.lake))
    assert (first.unchanged, first.left) == (0, 0)
    assert first.stored == len(list(source.lake))
    assert shown(manager, session_id) == shown(source, session_id)
    again = bring(manager.lake, entries_of(source.lake))
    assert (again.stored, again.unchanged) == (0, first.stored)
    # Work goes on in the target; what has ended or changed there stays.
    task = manager.claim_task("w")
    assert task is not None
    task.complete(1)
    held = manager.claim_task("w")
    assert held is not None
    manager.add_memory(session_id, "fact", "a/b", "later")
    third = bring(manager.lake, entries_of(source.lake))
    assert third.stored == 0
    assert manager.memory(session_id, "fact", "a/b").content == "later"
    assert [t.status for t in manager.tasks(session_id)] == [
        "completed", "completed", "claimed", "pending",
    ]  # fmt: skip
    held.complete(2)
    # And back: what has ended in one ends in the other, with nothing left in the queue.
    bring(source.lake, entries_of(manager.lake))
    assert [t.status for t in source.tasks(session_id)] == ["completed"] * 3 + ["pending"]
    assert source.memory(session_id, "fact", "a/b").content == "later"
    last = source.claim_task("w")
    assert last is not None
    assert (last.task_type, source.claim_task("w")) == ("t3", None)


def test_a_session_in_a_file(source: SessionManager, manager: SessionManager) -> None:
    session_id = fill(source)
    fill(source)
    told = json.loads(json.dumps(export_session(source.lake, session_id)))
    report = import_session(manager.lake, told)
    assert report.left == 0
    assert [s.id for s in manager.list_sessions()] == [session_id]
    assert shown(manager, session_id)[:5] == shown(source, session_id)[:5]
    assert import_session(manager.lake, told).stored == 0
    with pytest.raises(NotFoundError):
        export_session(source.lake, "0nobody00000")


def test_files_that_are_none_are_refused(source: SessionManager) -> None:
    session_id = fill(source)
    told = export_session(source.lake, session_id)
    before = len(source.lake)
    for wrong in (
        None, [], {}, {"format": "lakebed session"}, told | {"version": 2},
        told | {"entries": None}, told | {"entries": [{}]}, told | {"entries": [5]},
        told | {"entries": [{"key": "other", "value": 1}]},
        told | {"entries": [{"key": f"sessions/part/{session_id}x/chunk/1", "value": 1}]},
        told | {"entries": [{"key": "sessions/queue/w/ready/1", "value": 1}]},
        told | {"entries": [{"key": f"sessions/head/{session_id}", "value": 1, "base64": ""}]},
        told | {"entries": [{"key": f"sessions/head/{session_id}", "base64": "!"}]},
        told | {"entries": [{"key": f"sessions/head/{session_id}", "parquet_base64": "AAAA"}]},
        told | {"session": "other"},
    ):  # fmt: skip
        with pytest.raises(ValidationError):
            import_session(source.lake, wrong)
    assert len(source.lake) == before


def test_a_page_shows_all_and_obeys_nothing(source: SessionManager) -> None:
    session_id = fill(source)
    source.update(session_id, title="# Trip\n\x1b[31m red")
    source.add_chunk(session_id, "```\n# not a heading\n```\n\x1b]0;title\x07")
    page = "".join(markdown(source, session_id))
    assert page.startswith("# # Trip �[31m red\n")
    for text in ("hello", "**a/b**", "print(1)", "a table of 1 rows", "2 bytes", "pending **t3**"):
        assert text in page
    assert "````\n```\n# not a heading\n```" in page
    assert "\x1b" not in page
    assert "\x07" not in page
