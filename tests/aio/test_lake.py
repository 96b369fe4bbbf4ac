"""The calls of an asynchronous lake, and what they give."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lakebed
from lakebed import aio
from lakebed.errors import (
    ConfigurationError,
    ConflictError,
    LakebedError,
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


async def numbered(count: int) -> AsyncIterator[dict[str, Any]]:
    for n in range(count):
        if n % 97 == 0:
            await asyncio.sleep(0)
        yield {"key": f"k{n:05}", "value": n}


def test_batches_from_async_generators(run: Run, where: dict[str, Any]) -> None:
    async def main() -> None:
        async with aio.open(**where) as lake:
            seen: list[int] = []

            async def report(done: int, total: int | None) -> None:
                assert total is None
                assert await lake.contains("there")  # it may use the lake
                seen.append(done)

            await lake.store("there", 1)
            report_ = await lake.store_batch(numbered(1234), progress=report)
            assert report_.stored == 1234
            assert seen == [*range(100, 1300, 100), 1234]
            assert await lake.count() == 1235

            async def failing() -> AsyncIterator[dict[str, Any]]:
                yield {"key": "half", "value": 1}
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await lake.store_batch(failing())
            assert not await lake.contains("half")
            with pytest.raises(ZeroDivisionError):
                await lake.store_batch(failing(), atomic=False)
            assert await lake.contains("half")

            async def keys() -> AsyncIterator[str]:
                yield "half"

            assert await lake.retrieve_batch(keys()) == {"half": 1}

    run(main())


def test_generators_that_use_the_lake_wait_for_no_turn(run: Run, tmp_path: Path) -> None:
    """With one worker, five batches whose generators store and read meanwhile."""

    async def main() -> None:
        async with aio.open(tmp_path / "lake", max_workers=1) as lake:

            async def entries(batch: int, depth: int) -> AsyncIterator[dict[str, Any]]:
                for n in range(5):
                    await lake.store(f"in/{batch}/{depth}/{n}", n)
                    yield {"key": f"out/{batch}/{depth}/{n}", "value": n}
                if depth:
                    await lake.store_batch(entries(batch, depth - 1))

            async with asyncio.timeout(60):
                await asyncio.gather(*(lake.store_batch(entries(b, 2)) for b in range(5)))
            assert await lake.count() == 5 * 3 * 5 * 2

    run(main())


def test_an_error_in_a_callback_ends_the_call(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.open(tmp_path / "lake") as lake:
            closed: list[int] = []

            async def entries() -> AsyncIterator[dict[str, Any]]:
                try:
                    for n in range(10_000):
                        yield {"key": f"k{n}", "value": n}
                finally:
                    await asyncio.sleep(0)
                    closed.append(n)

            def report(*_: object) -> None:
                raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await lake.store_batch(entries(), progress=report)
            assert len(closed) == 1  # and not by a task of its own
            assert await lake.count() == 0

    run(main())


def test_context_variables_reach_callbacks(run: Run, tmp_path: Path) -> None:
    span = contextvars.ContextVar("span", default="none")

    async def main() -> None:
        seen: list[str] = []
        loop = threading.get_ident()

        def embed(texts: list[str]) -> list[list[float]]:
            seen.append(f"embedder {span.get()}")
            return [[1.0, 0.0] for _ in texts]

        async with aio.open(tmp_path / "lake", embedder=embed) as lake:

            async def agent(name: str) -> None:
                span.set(name)

                def report(*_: object) -> None:
                    assert threading.get_ident() == loop
                    seen.append(f"progress {span.get()}")

                entries = ({"key": f"{span.get()}/{n}", "value": "text"} for n in range(100))
                await lake.store_batch(entries, progress=report)
                await lake.search("text", mode="vector")

            await agent("a")
            await asyncio.create_task(agent("b"))
            assert await lake.count() == 200
        assert {"progress a", "progress b", "embedder a", "embedder b"} <= set(seen)
        assert not [each for each in seen if "none" in each]

    run(main())


def test_several_loops_share_a_lake(tmp_path: Path) -> None:
    lake = asyncio.run(_opened(tmp_path / "lake"))
    errors: list[BaseException] = []

    async def work(thread: int) -> None:
        await asyncio.gather(*(lake.store(f"{thread}/{n}", n) for n in range(50)))

    def thread(number: int) -> None:
        try:
            asyncio.run(work(number))
            asyncio.run(work(number))
        except BaseException as error:  # noqa: BLE001 - judged below
            errors.append(error)

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not errors
    assert asyncio.run(_counted(lake)) == 200
    asyncio.run(lake.close())


async def _opened(folder: Path) -> aio.AsyncLake:
    return await aio.open(folder)


async def _counted(lake: aio.AsyncLake) -> int:
    return await lake.count()


def test_without_asyncio_it_says_so(tmp_path: Path) -> None:
    lake = aio.AsyncLake(lakebed.open(tmp_path / "lake"))
    call = lake.store("a", 1)
    with pytest.raises(RuntimeError, match="asyncio's event loop"):
        call.send(None)
    asyncio.run(lake.close())


def test_opening_fails_as_ever(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(ConfigurationError, match="is a file"):
            await aio.open(tmp_path / "file")
        with pytest.raises(ConfigurationError, match="is a file"):
            async with aio.open(tmp_path / "file"):
                pass
        with pytest.raises(ValidationError, match="max_workers"):
            await aio.open(tmp_path / "lake", max_workers=0)

    run(main())


def test_closing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        lake = await aio.open(tmp_path / "lake")
        stores = [asyncio.create_task(lake.store(f"k{n}", n)) for n in range(200)]
        await asyncio.sleep(0)  # all are on their way
        await asyncio.gather(lake.close(), lake.close())
        assert all([(await store).created for store in stores])
        for call in (lake.store("a", 1), lake.count(), lake.store_batch([])):
            with pytest.raises(LakebedError, match="closed"):
                await call
        with pytest.raises(LakebedError, match="closed"):
            await lake.list()
        await lake.close()
        async with aio.open(tmp_path / "lake") as again:
            assert await again.count() == 200

    run(main())


def test_a_forgotten_lake_ends_its_threads(tmp_path: Path) -> None:
    async def main() -> None:
        lake = await aio.open(tmp_path / "lake")
        await lake.store("a", 1)

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name.startswith("lakebed-aio"):
            thread.join(5)
            assert not thread.is_alive()


def test_a_lazy_configuration_connects_in_a_thread(run: Run, tmp_path: Path) -> None:
    settings = {"backend": "ducklake", "path": str(tmp_path / "lake"), "lazy": True}

    async def main() -> None:
        async with aio.open(settings) as lake:
            assert not (tmp_path / "lake" / "catalog.db").exists() or lake.name
            async with lake.transaction() as tx:
                tx.store("a", 1)
            assert await lake.retrieve("a") == 1
            assert "catalog.db" in repr(lake)

    run(main())


def test_it_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, lakebed\n"
        "assert not {'asyncio', 'lakebed.aio'} & set(sys.modules)\n"
        "lakebed.aio\n"
        "import asyncio\n"
        "async def main():\n"
        "    async with lakebed.aio.open('lake') as lake:\n"
        "        await lake.store('a', {'b': 1})\n"
        "        assert await lake.retrieve('a') == {'b': 1}\n"
        "asyncio.run(main())\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        cwd=tmp_path, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    assert not {"duckdb", "ibis", "numpy", "pandas", "pyarrow", "pydantic"} & set(
        ran.stdout.split()
    )


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
