"""The calls of an asynchronous lake, and what they give."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lakebed
from lakebed import aio
from lakebed.errors import (
    ConflictError,
    NotFoundError,
    UnreadError,
    ValidationError,
)
from lakebed.lake.entries.transaction import Transaction
from lakebed.lake.history.diff import Diff
from lakebed.lake.history.feed import Changes
from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.history.watch import Watch
from lakebed.lake.lake import Lake
from lakebed.ltm import LTMBackend
from lakebed.ltm.transactions import LTMTransaction
from tests.aio.conftest import Run

LARGE = "x" * 10_000


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("twin", "kind", "more"),
    [
        (aio.AsyncLake, Lake, {"contains", "count", "name"}),
        (aio.AsyncView, LakeView, {"contains", "count", "name"}),
        (aio.AsyncLTMBackend, LTMBackend, set[str]()),
        (aio.AsyncLTMTransaction, LTMTransaction, set[str]()),
        (aio.AsyncTransaction, Transaction, set[str]()),
        (aio.AsyncWatch, Watch, set[str]()),
        (aio.AsyncChanges, Changes, set[str]()),
        (aio.AsyncDiff, Diff, set[str]()),
        (aio.AsyncEntry, lakebed.Entry, {"read"}),
    ],
)
def test_it_has_every_call(twin: type, kind: type, more: set[str]) -> None:
    assert public(twin) == public(kind) | more


def test_calls_take_the_same() -> None:
    skipped = {"mro", "read_only", "read_listing"}
    for name in public(Lake) - skipped:
        wanted = inspect.signature(getattr(Lake, name)).parameters
        found = inspect.signature(getattr(aio.AsyncLake, name)).parameters
        assert list(found) == list(wanted), name
        assert [p.default for p in found.values()] == [p.default for p in wanted.values()], name
        assert getattr(aio.AsyncLake, name).__doc__, name
    wanted = inspect.signature(lakebed.open).parameters
    found = dict(inspect.signature(aio.open).parameters)
    assert found.pop("max_workers").default is None
    assert {name: p.default for name, p in found.items()} == {
        name: p.default for name, p in wanted.items()
    }


def test_storing_and_reading(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            small = await lake.store("a", {"n": 1}, {"kind": "note"})
            assert (small.created, small.inlined, small.value) == (True, True, {"n": 1})
            stored = await lake.store("b", LARGE)
            with pytest.raises(UnreadError, match=r"await entry\.read\(\)"):
                _ = stored.value
            assert await stored.read() == stored.value == LARGE
            entry = await lake.entry("b")
            assert entry is not None
            assert dict(entry)["storage_uri"] == stored.storage_uri
            assert await entry.read() == LARGE
            assert await lake.entry("never") is None
            (hit,) = await lake.search("note")
            assert (hit.key, await hit.read(), hit.value) == ("a", {"n": 1}, {"n": 1})
            assert await lake.retrieve("never", None) is None
            with pytest.raises(NotFoundError):
                await lake.retrieve("never")
            with pytest.raises(ConflictError):
                await lake.store("a", 2, if_absent=True)
            assert [await lake.contains(key) for key in ("a", "c", 5)] == [True, False, False]
            assert await lake.count() == 2
            assert await lake.delete("a")
            assert await lake.retrieve_batch(["a", "b"]) == {"b": LARGE}

    run(main())


def test_iterating(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store_batch({"key": f"k{n:04}", "value": n} for n in range(2500))
            listing = lake.list("k1", limit=1200)
            for _ in range(2):  # read anew each time
                keys = [entry.key async for entry in listing]
                assert keys == [f"k{n:04}" for n in range(1000, 2000)]
            assert [entry.key for entry in await listing] == keys
            assert (await listing.to_arrow()).num_rows == 1000
            assert [key async for key in lake] == await lake.keys()
            assert await lake.values() == list(range(2500))
            assert [pair async for pair in lake.items()][7] == ("k0007", 7)
            assert "k1" in repr(listing)
            with pytest.raises(ValidationError, match="limit"):
                lake.list(limit=-1)
            async for entry in lake.list():  # left early
                assert entry.value == 0
                break

    run(main())


def test_snapshots_and_diffs(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store("gone", 1)
            await lake.store("changed", {"n": 1})
            kept = await lake.create_snapshot("before")
            await lake.delete("gone")
            await lake.store("changed", {"n": 2})
            await lake.store("new", LARGE)
            assert [each async for each in lake.snapshots()] == await lake.snapshots() == [kept]
            view = lake.at("before")
            assert await view.items() == [("changed", {"n": 1}), ("gone", 1)]
            assert await lake.at(kept).retrieve("gone") == 1
            with pytest.raises(NotFoundError):
                await lake.at("never").count()
            diff = await lake.diff("before")
            assert [len(kind) for kind in (diff.added, diff.changed, diff.removed)] == [1, 1, 1]
            assert [(each.change, each.key) async for each in lake.diff("before")] == [
                ("added", "new"), ("changed", "changed"), ("removed", "gone")
            ]  # fmt: skip
            async for change in diff.changed:
                assert "values_changed" in await change.details()
            (added,) = await diff.added
            assert await added.read() == LARGE
            assert (await diff.summary()).added == 1
            restored = await lake.restore("before")
            assert (restored.snapshot or "").startswith("before-restore-")
            assert await lake.keys() == ["changed", "gone"]
            assert len(await lake.history("changed")) >= 2
            await lake.drop_snapshot("before")
            with pytest.raises(NotFoundError):
                await view.retrieve("gone")

    run(main())


def test_changes(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store("a", 1)
            changes = await lake.changes()
            assert [(each.change, each.key) async for each in changes] == [("added", "a")]
            await lake.store("a", LARGE)
            since = await lake.changes(changes.cursor)
            (change,) = await since
            assert change.before is not None
            assert change.after is not None
            assert (await change.before.read(), await change.after.read()) == (1, LARGE)
            assert (await (await lake.changes(since.cursor))) == []

    run(main())


def test_watching(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store("a/1", 1)
            watch = lake.watch("run", prefix="a/")
            with pytest.raises(ValidationError, match="not begun"):
                _ = watch.diff
            async with watch as run:
                await lake.store("a/2", 2)
                await lake.store("b/1", 1)
                assert [each.key async for each in run.diff] == ["a/2"]
            await lake.store("a/3", 3)
            diff = await run.diff  # until the end of the block
            assert [entry.key for entry in await diff.added] == ["a/2"]
            assert len((await run.undo(dry_run=True)).removed) == 2
            await run.undo()
            assert await lake.keys() == ["a/1", "b/1"]
            with pytest.raises(ValidationError, match="begun already"):
                await watch.__aenter__()

    run(main())


def test_queries(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store_batch([{"key": f"k{n}", "value": {"n": n}} for n in range(50)])
            await lake.store("table", pa.table({"n": [1, 2, 3]}))
            query = "SELECT key FROM entries WHERE key < $1 ORDER BY key"
            assert len([row async for row in lake.sql(query, ["k2"])]) == 12
            result = await lake.sql(query, ["l"])
            assert result.columns == ["key"]
            assert await result.fetchone() == ("k0",)
            assert len(await result.fetchmany(9)) == 9
            assert len(await result.fetchall()) == 40
            assert (await result.arrow()).num_rows == 50
            assert len(await result.df()) == len(await result.pl()) == 50
            assert sum([batch.num_rows async for batch in result.batches(10)]) == 50
            await result.close()
            table = await lake.table("table")
            assert await asyncio.to_thread(lambda: table.n.sum().execute()) == 6
            with pytest.raises(lakebed.errors.QueryError):
                await lake.sql("DROP TABLE entries")

    run(main())


def test_transactions(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store("old", 1)
            value = {"list": [1]}
            async with lake.transaction() as tx:
                tx.store("a", value)
                tx.store("table", pa.table({"n": [1]}))
                tx.delete("old")
                value["list"].append(2)  # what is queued is a copy
                assert await tx.retrieve("a") == {"list": [1]}
                assert await tx.delete("never") is False
                assert await lake.keys() == ["old"]
            assert await lake.retrieve("a") == {"list": [1]}
            assert await lake.keys() == ["a", "table"]

            async def fail() -> None:
                async with lake.transaction() as tx:
                    tx.store("b", LARGE)
                    raise ZeroDivisionError

            async def conflict() -> None:
                async with lake.transaction() as tx:
                    tx.store("b", 1)
                    tx.store("a", 1, if_absent=True)

            with pytest.raises(ZeroDivisionError):
                await fail()
            with pytest.raises(ConflictError):
                await conflict()
            async with lake.transaction() as tx:
                with pytest.raises(lakebed.errors.SerializationError):
                    tx.store("b", float("nan"))
                with pytest.raises(ValidationError):
                    tx.store("", 1)
            assert await lake.keys() == ["a", "table"]
            with pytest.raises(ValidationError, match="has ended"):
                tx.store("b", 1)

    run(main())


def test_the_reference_names_every_call() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "aio.md").read_text("utf-8")
    for kind in (aio.AsyncLake, aio.AsyncView, aio.AsyncLTMBackend):
        for name in public(kind):
            if hasattr(getattr(kind, name), "__wrapped__") and "batch" not in name:
                assert f"`{name}`" in text, name


def test_a_synchronous_call_on_the_loop_is_noticed(run: Run, where: dict[str, Any]) -> None:
    """So that all tests of this folder would fail for one."""

    async def main() -> None:
        async with aio.open(**where) as lake:
            await lake.store("large", LARGE)
            sync = lake._lake
            assert sync is not None
            for call in (
                lambda: sync.store("a", 1),
                lambda: sync["large"],
                lambda: sync.sql("SELECT 1"),
            ):
                with pytest.raises(AssertionError, match="blocks the event loop"):
                    call()

    run(main())
