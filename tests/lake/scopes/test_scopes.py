"""Scopes: a lake under a prefix, with all of its calls, and nothing outside within reach."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lakebed
from lakebed import Lake, LakebedError
from lakebed.errors import ConflictError, NotFoundError, QueryError, ValidationError
from lakebed.lake.lake import Scope

SECRET = "zebra-of-user-43"  # noqa: S105 - to be looked for
OTHER = "agency/acme/user/43"

WHOLE = {"publish", "maintain", "cleanup_expired", "compact", "collect", "verify", "adopt"}
"""Calls that a scope refuses."""
INNER = {
    # Plain Python over calls that are tested here, and what faces use.
    "keys", "items", "values", "get", "pop", "popitem", "setdefault", "update", "clear", "close",
    "full_uri", "read_only", "read_content", "read_contents", "read_entry", "read_in_order",
    "read_listing", "read_value", "count_rows", "query_engine", "query_settings", "presign",
}  # fmt: skip
TESTED = {
    "append", "at", "changes", "create_snapshot", "delete", "diff", "drop_snapshot", "entry",
    "history", "ibis", "list",
    "purge", "restore", "retrieve", "retrieve_batch", "scope", "search", "snapshots", "sql",
    "listen", "now", "signal", "stats", "store", "store_batch", "take", "touch", "table", "tables",
    "transaction", "watch",
}  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with lakebed.open(tmp_path / "lake", history="all", inline_threshold=64) as lake:
        lake.store(f"{OTHER}/name", SECRET, {"secret": SECRET})
        lake.store(f"{OTHER}/large", SECRET * 100)
        lake.store(f"{OTHER}/table", pa.table({"secret": [SECRET]}))
        lake.store("agency/acme/user/43", {"secret": SECRET})
        lake.store("agency/acme/user/420/name", SECRET)
        lake.store("name", SECRET)
        lake.create_snapshot("of the lake")
        lake.scope(OTHER).create_snapshot("theirs")
        yield lake


@pytest.fixture
def scope(lake: Lake) -> Scope:
    return lake.scope("agency/acme/user/42")


def test_every_call_was_thought_of() -> None:
    calls = {name for name in dir(Lake) if not name.startswith("_")}
    assert calls - WHOLE - INNER - TESTED == set(), "decide what these do in a scope"


def test_keys_are_relative(lake: Lake, scope: Scope) -> None:
    stored = scope.store("name", "Ada", {"source": "chat"})
    assert (stored.key, stored.value) == ("name", "Ada")
    assert lake["agency/acme/user/42/name"] == "Ada"
    scope["a/b"] = 1
    assert list(scope) == ["a/b", "name"]
    assert len(scope) == 2
    assert scope.prefix == "agency/acme/user/42/"
    assert [entry.key for entry in scope.list("a/")] == ["a/b"]
    assert scope.list(limit=1, after="a/b").to_arrow().column("key").to_pylist() == ["name"]
    assert list(lake.scope("agency/acme").scope("user/42")) == ["a/b", "name"]
    assert scope.scope("a").retrieve("b") == 1
    assert scope.pop("a/b") == 1
    lake["agency/acme/user/420/q/1"] = lake["q/1"] = "theirs"
    assert scope.take("q/", "done/") is None
    scope["q/2"] = "mine"
    taken = scope.take("q/", "done/")
    assert taken is not None
    assert (taken.key, taken.value) == ("done/2", "mine")
    assert lake["agency/acme/user/42/done/2"] == "mine"
    assert scope.now() <= lake.now()
    assert scope.touch("name", ttl=60).key == "name"
    assert lake.entry("agency/acme/user/42/name").expires_at  # type: ignore[union-attr]
    with pytest.raises(NotFoundError):
        scope.touch("q/1", ttl=60)
    assert isinstance(scope, Lake)


def test_batches_transactions_tables_and_large_values(lake: Lake, scope: Scope) -> None:
    entries = [{"key": f"k{n:03}", "value": f"{n} " + "x" * 200} for n in range(300)]
    assert dict(scope.store_batch(entries))["created"] == 300
    assert scope["k007"].startswith("7 x")
    assert lake["agency/acme/user/42/k007"] == scope["k007"]
    with scope.transaction() as tx:
        tx.store("in", "y" * 500)
        tx.delete("k000")
        assert tx.retrieve("in") == "y" * 500
    assert "k000" not in scope
    assert "agency/acme/user/42/k000" not in lake
    scope.store("t/1", pa.table({"a": [1, 2]}))
    assert scope.table("t/1").execute().a.tolist() == [1, 2]
    assert scope.tables("t/").execute()["key"].tolist() == ["t/1", "t/1"]
    theirs = lake.scope(OTHER).append("table", pa.table({"secret": [SECRET]}))
    assert scope.append("t/1", pa.table({"a": [3]})).rows == 3
    assert scope["t/1"].column("a").to_pylist() == [1, 2, 3]
    assert lake["agency/acme/user/42/t/1"].num_rows == 3
    again = scope.append("t/2", pa.table({"secret": [SECRET]}))
    assert (theirs.rows, again.rows, again.deduplicated) == (2, 1, False)
    scope.delete("t/2")
    assert scope.retrieve_batch(["in", "k000"]).missing == ["k000"]
    with pytest.raises(ConflictError, match="'in' is there already"):
        scope.store("in", 1, if_absent=True)
    with pytest.raises(ConflictError) as conflict:
        scope.store("in", 1, if_match="sha256:" + "0" * 64)
    assert "agency" not in str(conflict.value)


def test_snapshots_are_the_scopes_own(lake: Lake, scope: Scope) -> None:
    scope["name"] = "Ada"
    made = scope.create_snapshot("monday", message="m")
    assert made.name == "monday"
    assert [s.name for s in scope.snapshots()] == ["monday"]
    assert [s.name for s in lake.scope("agency/acme").snapshots()] == [
        "user/43/theirs",
        "user/42/monday",
    ]
    scope["name"] = "Eve"
    lake[f"{OTHER}/name"] = "changed"
    view = scope.at("monday")
    assert view["name"] == "Ada"
    assert len(view) == 1
    assert [hit.key for hit in view.search("ada")] == ["name"]
    assert view.sql("SELECT key, value->>'$' FROM documents").fetchall() == [("name", "Ada")]
    assert [change.key for change in scope.diff("monday").changed] == ["name"]
    done = scope.restore("monday")
    assert [change.key for change in done.changed] == ["name"]
    assert scope["name"] == "Ada"
    assert lake[f"{OTHER}/name"] == "changed"
    assert [version.value for version in scope.history("name")] == ["Ada", "Eve", "Ada"]
    with scope.watch("run") as run:
        scope["new"] = 1
        lake[f"{OTHER}/name"] = "changed again"
    assert [entry.key for entry in run.diff.added] == ["new"]
    assert (len(run.diff), len(run.undo()), "new" in scope) == (1, 1, False)
    assert lake[f"{OTHER}/name"] == "changed again"
    with pytest.raises(ConflictError) as conflict:
        scope.create_snapshot("monday")
    assert "agency" not in str(conflict.value)
    scope.drop_snapshot("monday")
    assert "monday" not in [s.name for s in scope.snapshots()]


def test_purge_forgets_a_user_whole(lake: Lake, scope: Scope) -> None:
    for n in range(30):
        scope.store(f"n/{n}", f"pelican {n} " + "x" * 100)
    scope.create_snapshot("kept")
    scope["n/1"] = "other"
    lake.create_snapshot("all")
    assert scope.search("pelican").total == 29
    report = scope.purge()
    assert report.entries == 30
    assert report.snapshots == ["kept"]  # and not the lake's, which is marked as well
    assert len(scope) == 0
    assert scope.history("n/1") == [] or len(scope.history("n/1")) == 0
    assert lake.search("pelican").total == lake.at("all").search("pelican").total == 0
    assert not lake.verify().problems
    assert lake[f"{OTHER}/name"] == SECRET
    scope["again"] = 1
    assert scope.purge(key="again").entries == 1
    scope["a/1"] = scope["b/1"] = 1
    assert scope.purge(prefix="a/").entries == 1
    assert list(scope) == ["b/1"]


HOSTILE_KEYS = [
    "../43/name", "../../user/43/name", "/agency/acme/user/43/name", "agency/acme/user/43/name",
    "..", ".", "/", "//", "../", "0/name", "\x01", "\U0010ffff", "\U0010ffff" * 250, "%2e%2e/43",
    "..\\43\\name", "_", "%", "%%", "*", "'; DROP TABLE entry; --", "' OR '1'='1", "\ud7ff",
    "user/43", "43/name", "name\u0000"[:4] + "\u200b",
]  # fmt: skip


@pytest.mark.parametrize("inherit", [False, True])
def test_no_key_names_anything_outside(lake: Lake, inherit: bool) -> None:
    scope = lake.scope("agency/acme/user/42", inherit=inherit)
    for key in HOSTILE_KEYS:
        _try_key(lake, scope, key)


def _try_key(lake: Lake, scope: Scope, key: str) -> None:
    before = dict(lake.items())
    assert scope.entry(key) is None
    assert key not in scope
    assert scope.get(key) is None
    assert len(scope.retrieve_batch([key])) == 0
    assert len(scope.history(key)) == 0
    assert scope.delete(key) is False
    assert [entry.key for entry in scope.list(key)] == []
    assert len(scope.search(None, prefix=key)) == len(scope.search("zebra", prefix=key)) == 0
    assert scope.search(SECRET, prefix=key).total == 0
    with pytest.raises(NotFoundError):
        scope.table(key)
    with pytest.raises(NotFoundError):
        scope.tables(key)
    assert scope.purge(key=key, dry_run=True).entries == 0
    assert scope.purge(prefix=key, dry_run=True).entries == 0
    assert scope.purge(prefix=key).entries == 0
    assert dict(lake.items()).keys() == before.keys()
    try:
        scope.store(key, "mine")
    except ValidationError:
        return  # too long with its scope
    after = dict(lake.items())
    assert after.keys() - before.keys() == {f"agency/acme/user/42/{key}"}
    assert scope[key] == "mine"
    with scope.transaction() as tx:
        tx.delete(key)
    assert dict(lake.items()).keys() == before.keys()


HOSTILE_SQL = [
    "SELECT * FROM entries", "SELECT * FROM documents", "SELECT * FROM history",
    "SELECT * FROM snapshots", "SELECT * FROM objects",
    "SELECT * FROM entries WHERE key LIKE '%43%' OR key >= ''",
    "SELECT * FROM entries WHERE key >= '../' OR key < '~'",
    "SELECT * FROM entries WHERE key = 'agency/acme/user/43/name'",
    "SELECT * FROM documents WHERE key = '../43/name'",
    "SELECT * FROM search('zebra')", "SELECT * FROM search('user', 1000)",
    "SELECT * FROM entries_at('theirs')", "SELECT * FROM entries_at('of the lake')",
    "SELECT * FROM entries_at('user/43/theirs')", "SELECT * FROM entries_at('../43/theirs')",
    "SELECT * FROM entries_at(7)", "SELECT * FROM changes(1, NULL)", "SELECT * FROM changes(1, 9)",
    "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM glob('**')",
    "SELECT * FROM duckdb_tables()", "ATTACH 'x.db'", "COPY entries TO 'x.csv'",
    "SELECT getenv('HOME')", "SELECT * FROM lakebed_hits", "SELECT * FROM temp.main.entries",
]  # fmt: skip


def test_no_query_sees_anything_outside(lake: Lake, scope: Scope) -> None:
    scope["mine"] = "M"
    whole = list(lake.sql("SELECT * FROM entries"))  # what the lake has loaded is no use here
    assert len(whole) > 5
    answered = [query for query in HOSTILE_SQL if _try_query(scope, query)]
    assert len(answered) >= 10


def _try_query(scope: Scope, query: str) -> bool:
    try:
        rows = [list(row) for row in scope.sql(query)]
    except (QueryError, NotFoundError):
        return False
    shown = json.dumps(rows, default=str)
    assert SECRET not in shown
    assert "43" not in [str(row[0])[-2:] for row in rows]
    assert "agency" not in shown
    assert all("theirs" not in str(row) and "of the lake" not in str(row) for row in rows)
    return True


def test_ibis_shows_the_scope_alone(scope: Scope) -> None:
    scope["mine"] = "M"
    backend = scope.ibis()
    for name in ("entries", "documents", "history", "snapshots", "objects"):
        shown = backend.table(name).execute().to_json(default_handler=str, date_format="iso")
        assert SECRET not in shown
        assert "agency" not in shown
    assert backend.table("entries").count().execute() == 1
    assert backend.table("objects").count().execute() == 1


def test_filters_counts_and_hits_tell_nothing(scope: Scope) -> None:
    scope["mine"] = "M"
    assert scope.search(None).total == 1
    assert scope.search("zebra").total == 0
    assert scope.search(None, metadata_filter={"secret": SECRET}).total == 0
    assert scope.search(None, value_filter={"secret": SECRET}).total == 0
    stats = scope.stats()
    assert (stats.entries, stats.objects, stats.snapshots) == (1, 1, 0)
    # Whether others have stored a content is not told.
    assert scope.store("guess", SECRET).deduplicated is False
    assert scope.store("guess", SECRET).deduplicated is True  # it changed nothing
    assert scope.store_batch([{"key": "guess2", "value": SECRET}]).deduplicated == 0


def test_snapshots_of_others_are_not_there(lake: Lake, scope: Scope) -> None:
    theirs = [snapshot.id for snapshot in lake.snapshots()]
    for name in ("of the lake", "theirs", "../43/theirs", "user/43/theirs", *theirs):
        for call in (scope.at, scope.diff, scope.restore, scope.drop_snapshot):
            with pytest.raises(NotFoundError) as error:
                call(name)
            assert SECRET not in str(error.value)
    assert len(lake.snapshots()) == 2
    assert list(scope.at(3)) == []
    assert list(scope.diff(1).added) == []


@pytest.mark.parametrize("call", sorted(WHOLE))
def test_what_concerns_the_whole_lake_is_refused(scope: Scope, call: str) -> None:
    with pytest.raises(ValidationError, match="whole lake"):
        getattr(scope, call)()
    with pytest.raises(ValidationError, match="whole lake"):
        scope._catalog.unknown_call_of_a_later_release()
    with pytest.raises(ValidationError, match="external_access"):
        scope.sql("SELECT 1", external_access=True)


@pytest.mark.parametrize(
    "path",
    ["", "/", "a/", "/a", "a//b", "..", "a/../b", ".", "a\0b", "a\nb", "@a", 5, None, "x" * 901],
)
def test_paths_that_are_none(lake: Lake, path: Any) -> None:
    with pytest.raises(ValidationError, match="path"):
        lake.scope(path)


def test_keys_and_names_are_bounded_with_their_scope(scope: Scope) -> None:
    room = 1024 - len(scope.prefix)
    assert scope.store("k" * room, 1).created
    for call in (scope.store, scope.history):
        with pytest.raises(ValidationError, match="1025 bytes with its scope"):
            call("k" * (room + 1), *([1] if call == scope.store else []))
    assert "k" * (room + 1) not in scope
    with pytest.raises(ValidationError, match="with its scope"):
        scope.create_snapshot("n" * 250)


def test_reads_fall_back_to_the_scopes_above(lake: Lake) -> None:
    path = "agency/acme/company/x/team/t/user/42/session/9"
    for depth, level in enumerate(("agency/acme", "company/x", "team/t", "user/42", "session/9")):
        end = path.index(level) + len(level)
        above = lake.scope(path[:end])
        above.store(f"only-{depth}", depth)
        above.store("tone", depth)
        above.store("policy/leave", depth)
    session = lake.scope(path, inherit=True)
    assert [session[f"only-{depth}"] for depth in range(5)] == [0, 1, 2, 3, 4]
    assert session["tone"] == session["policy/leave"] == 4
    assert session.entry("only-0").key == "only-0"  # type: ignore[union-attr]
    assert "only-2" in session
    found = session.retrieve_batch(["only-0", "tone", "nowhere"])
    assert (dict(found), found.missing) == ({"only-0": 0, "tone": 4}, ["nowhere"])
    assert sorted(session) == ["only-4", "policy/leave", "tone"]  # lists what it holds itself
    session.delete("tone")
    assert session["tone"] == 3
    assert session.delete("tone") is False  # the one above stays
    assert session.pop("tone", None) is None
    assert session.setdefault("only-1", "new") == 1
    with pytest.raises(NotFoundError):
        session["nowhere"]
    # The lake is no scope above, and none falls back unless it is asked to.
    assert session.get("name") is None
    assert lake.scope(path).get("only-0") is None
    nested = (
        lake.scope("agency/acme").scope("company/x", inherit=True).scope("user/7", inherit=True)
    )
    assert (nested["only-1"], nested["only-0"]) == (1, 0)
    assert lake.scope("agency/acme").scope("company/x/user/7").get("only-1") is None


def test_falling_back_reads_nothing_of_scopes_beside(lake: Lake) -> None:
    company = lake.scope("company/x")
    for path in ("user/43", "team/7", "team/7/user/44"):
        company.scope(path)["secret"] = SECRET
    company["user/43"] = SECRET  # an entry that has the name of a scope
    one = company.scope("plain", inherit=True)
    company.scope("beside")["secret"] = SECRET
    user = lake.scope("company/x/user/42", inherit=True)
    nested = company.scope("user/42", inherit=True)
    for key in ("user/43/secret", "team/7/secret", "team/7/user/44/secret", "43/secret", "user/43"):
        for reader in (user, nested, nested.scope("session/1", inherit=True)):
            assert reader.get(key) is None, key
            assert key not in reader
            assert len(reader.retrieve_batch([key])) == 0
    assert one.get("beside/secret") is None


def test_signatures_are_those_of_the_lake() -> None:
    for name in ("retrieve", "entry", "search", "sql", "purge", "at", "retrieve_batch"):
        mine = inspect.signature(getattr(Scope, name)).parameters
        assert list(mine) == list(inspect.signature(getattr(Lake, name)).parameters)


def test_a_scope_ends_without_its_lake(lake: Lake) -> None:
    with lake.scope("a/b") as scope:
        scope["k"] = 1
        assert scope.sql("SELECT count(*) FROM entries").fetchall() == [(1,)]
    assert lake["a/b/k"] == 1
    with pytest.raises(LakebedError):
        scope.sql("SELECT 1")
