"""Copies of lakes: a copy reads as its source, between any two catalogs, after kills as well."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lakebed
from lakebed.errors import ConflictError, NotFoundError, ReadOnlyError, ValidationError
from lakebed.lake.lake import Lake
from tests.forked import Forked
from tests.lake.copying import doomed

CATALOGS = ("sqlite", "postgres", "mariadb", "bucket")
STORAGES = ("none", "folder", "s3")
LARGE = "large " * 2000


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Lake]]:
    """Opens a new lake on a catalog and a storage."""
    lakes: list[Lake] = []

    def place(kind: str, name: str) -> Any:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.db"
        if kind == "postgres":
            url = request.getfixturevalue("postgres_18").url()
            return {"type": "postgres", "url": url, "schema": f"{name}_{random.randrange(10**9)}"}
        if kind == "mariadb":
            return request.getfixturevalue("mariadb").url(f"{name}_{random.randrange(10**9)}")
        return {"type": "bucket", "uri": str(tmp_path / f"{name}-log")}

    def opened(kind: str, storage: str, name: str, **settings: Any) -> Lake:
        where: Any = None
        if storage == "folder":
            where = str(tmp_path / f"{name}-objects")
        elif storage == "s3":
            server = request.getfixturevalue("s3")
            where = server.storage(f"s3://{server.create_bucket()}/{name}")
        lake = lakebed.open(
            catalog=place(kind, name), storage=where, cache=tmp_path / f"{name}-cache", **settings
        )
        lakes.append(lake)
        return lake

    yield opened
    for lake in lakes:
        lake.close()


def live(lake: Lake, rng: random.Random, steps: int = 40) -> None:
    """A life with stores, deletions, expiries, batches, tables and snapshots."""
    keys = [f"k{number}" for number in range(12)] + ["ü/\u4e2d"]
    for step in range(steps):
        key, kind = rng.choice(keys), rng.random()
        value = rng.choice([step, {"a": [step, None]}, LARGE + str(step), b"\x00\xff" * 9, "same"])
        if kind < 0.45:
            lake.store(key, value, rng.choice([None, {"m": step, "x": 1.0}]))
        elif kind < 0.55:
            lake.store(key, value, ttl=rng.choice([0.000_001, 5000]))
        elif kind < 0.65:
            lake.delete(key)
        elif kind < 0.75:
            some = rng.sample(keys, 5)
            lake.store_batch({"key": each, "value": value} for each in some[:2])
            lake.store_batch({"key": each, "value": step} for each in some)
        elif kind < 0.8 and lake._objects is not None:
            lake.store(key, pa.table({"n": range(step)}))
        elif kind < 0.85:
            lake.cleanup_expired()
        else:
            name = f"s{rng.randrange(10**9)}"
            lake.create_snapshot(name, message=f"after {step}", author="Ada")
            if rng.random() < 0.2:
                lake.drop_snapshot(rng.choice(lake.snapshots()))


def shown(entry: Any) -> tuple[Any, ...]:
    return (
        entry.key, entry.content_hash, entry.format, entry.metadata, entry.expires_at,
        entry.created_at, entry.updated_at,
    )  # fmt: skip


def check_alike(source: Lake, target: Lake, *, whole: bool) -> None:
    """The present with its times, and with `whole` all snapshots and versions."""
    assert [*map(shown, source.list())] == [*map(shown, target.list())]
    for entry in source.list():
        if entry.format != "parquet":
            assert target[entry.key] == entry.value
    assert target.verify().problems == []
    if not whole:
        return
    mine = [made for made in source.snapshots() if not made.name.startswith("copy-to-")]
    assert [(m.id, m.name, m.message, m.author, m.created_at) for m in mine] == [
        (m.id, m.name, m.message, m.author, m.created_at) for m in target.snapshots()
    ]
    for made in mine:
        there = target.at(made.name)
        assert [*map(shown, source.at(made).list())] == [*map(shown, there.list())]
    for key in {entry.key for made in mine for entry in source.at(made).list()}:
        told = [shown(version) for version in target.history(key)]
        if source._history == "all":
            assert told == [shown(version) for version in source.history(key)]
        else:  # what is kept because of a snapshot that is dropped is not copied
            assert set(map(str, told)) <= {str(shown(v)) for v in source.history(key)}


@pytest.mark.parametrize("origin", CATALOGS)
def test_a_copy_equals_its_source(
    make: Callable[..., Lake], rng: random.Random, origin: str, soak: bool
) -> None:
    """Each catalog is a source once, of another one in each run; all pairs in the soak."""
    for round_, goal in enumerate(5 * CATALOGS if soak else [rng.choice(CATALOGS)]):
        settings: Any = {"inline_threshold": rng.choice([0, 64, 4096])}
        history = rng.choice(["snapshots", "all"])
        source = make(origin, rng.choice(STORAGES), f"from{round_}", history=history, **settings)
        live(source, rng, 60 if soak else 25)
        plain = make(goal, rng.choice(STORAGES), f"plain{round_}")
        report = lakebed.copy(source, plain)
        assert (report.copied, report.differing) == (len(source), [])
        check_alike(source, plain, whole=False)
        again = lakebed.copy(source, plain)
        assert (again.copied, again.unchanged, again.bytes) == (0, len(source), 0)
        target = make(goal, rng.choice(STORAGES), f"to{round_}", history=history)
        report = lakebed.copy(source, target, history=True, snapshots=True)
        assert report.snapshots == len(target.snapshots())
        check_alike(source, target, whole=True)
        live(source, rng, 10) if history == "all" else source.store("more", LARGE)
        source.create_snapshot("last")
        lakebed.copy(source, target, history=True)  # goes on where it was
        kept = {made.name for made in source.snapshots()}
        for made in target.snapshots():
            if made.name not in kept:  # dropped since, which a copy that goes on leaves alone
                target.drop_snapshot(made)
        check_alike(source, target, whole=True)


def test_conflicts(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "a") as source, lakebed.open(tmp_path / "b") as target:
        source.store_batch({"key": f"k{number}", "value": number} for number in range(2500))
        target.store("k2000", "mine")
        target.store("other", 1)
        with pytest.raises(ConflictError, match="k2000"):
            lakebed.copy(source, target)
        assert len(target) == 2  # before anything was written
        report = lakebed.copy(source, target, on_conflict="skip")
        assert (report.copied, report.skipped, report.differing) == (2499, 1, [])
        assert target["k2000"] == "mine"
        report = lakebed.copy(source, target, "k20", on_conflict="replace")
        assert (report.entries, report.replaced, report.unchanged) == (111, 1, 110)
        assert target["k2000"] == 2000
        assert len(target) == 2501
        with pytest.raises(ConflictError, match="empty"):
            lakebed.copy(source, target, snapshots=True)
        assert source.snapshots() == []


def test_what_is_refused(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "a", history="all") as source:
        source.store("a", 1)
        with pytest.raises(ValidationError, match="two lakes"):
            lakebed.copy(source, tmp_path / "a")
        with pytest.raises(ValidationError, match="on_conflict must be"):
            lakebed.copy(source, tmp_path / "b", on_conflict="merge")  # type: ignore[arg-type]
        with lakebed.open(tmp_path / "b") as target, pytest.raises(ValidationError, match="all"):
            lakebed.copy(source, target, history=True)
        with lakebed.open(tmp_path / "a2", history="all") as other:
            lakebed.copy(source, other, history=True)
        with lakebed.open(tmp_path / "c") as stranger:
            stranger.store("x", 1)
            with pytest.raises(ConflictError, match="another lake"):
                lakebed.copy(stranger, tmp_path / "a2", snapshots=True)
    with lakebed.open(tmp_path / "a", read_only=True) as reader:
        assert lakebed.copy(reader, tmp_path / "d").copied == 1
        with pytest.raises(ReadOnlyError, match="copy writes"):
            lakebed.copy(tmp_path / "d", reader)


def test_damaged_content_is_not_copied(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "a") as source:
        source.store("large", LARGE)
        (damaged,) = (tmp_path / "a" / "objects").rglob("*.json")
        damaged.write_bytes(b"nonsense")
        with pytest.raises(lakebed.errors.CorruptionError, match="large"):
            lakebed.copy(source, tmp_path / "b")


def test_following(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "a") as source, lakebed.open(tmp_path / "b") as target:
        source.store("a", 1, ttl=5000)
        source.store("b", LARGE)
        first = lakebed.follow(source, target)
        assert first.copied == 2
        source.delete("a")
        source.store("b", 2)
        source.store("c", 3)
        second = lakebed.follow(source, target, first.cursor)
        assert (second.copied, second.replaced, second.removed) == (1, 1, 1)
        assert dict(target.items()) == dict(source.items()) == {"b": 2, "c": 3}
        repeated = lakebed.follow(source, target, first.cursor)  # the cursor was not stored
        assert (repeated.unchanged, repeated.removed) == (2, 0)
        third = lakebed.follow(source, target, second.cursor)
        assert (third.entries, third.cursor) == (0, second.cursor)
        with pytest.raises(NotFoundError, match="since=None"):
            lakebed.follow(source, target, first.cursor)


def test_scopes(tmp_path: Path) -> None:
    """Entries of a scope have their keys in the scope; what is past needs the whole lake."""
    with lakebed.open(tmp_path / "a") as lake, lakebed.open(tmp_path / "b") as other:
        scope = lake.scope("user/42")
        scope["name"] = "Ada"
        lake["else"] = 1
        assert lakebed.copy(scope, other).copied == 1
        assert dict(other.items()) == {"name": "Ada"}
        lakebed.copy(lake, other.scope("from"))
        assert list(other) == ["from/else", "from/user/42/name", "name"]
        for source, target in ((scope, other), (lake, other.scope("past"))):
            with pytest.raises(ValidationError, match=r"whole lakes.*prefix='(user/42|past)/'"):
                lakebed.copy(source, target, snapshots=True)
        report = lakebed.follow(scope, other)
        lake["else"] = 2
        del scope["name"]
        assert lakebed.follow(scope, other, report.cursor).removed == 1


@pytest.mark.parametrize("mode", ["entries", "history"])
def test_killed_copies_go_on(
    tmp_path: Path,
    rng: random.Random,
    soak: bool,
    mode: str,
    record_property: Callable[[str, object], None],
) -> None:
    folder = tmp_path / "a"
    whole = mode == "history"
    with lakebed.open(folder, history="all" if whole else "snapshots") as source:
        live(source, rng, 200)
        source.store_batch({"key": f"n{n:04}", "value": f"{n} " * 1500} for n in range(300))
        source.store_batch({"key": f"m{n:04}", "value": n} for n in range(300))
        for name in ("with its imports", "without"):
            begun = time.monotonic()
            lakebed.copy(source, tmp_path / name, history=whole)
            took = time.monotonic() - begun
        kills = 0
        for attempt in range(200 if soak else 2):
            target = tmp_path / f"b{attempt}"
            for turn in range(3):
                process = Forked(
                    partial(doomed.copy, history=whole),
                    folder,
                    target,
                    folder=tmp_path,
                    name=f"said-{attempt}-{turn}",
                )
                process.wait_for(1)
                time.sleep(rng.uniform(0, took))
                process.kill()
                kills += "done" not in process.said()
            report = lakebed.copy(source, target, history=whole)
            assert report.differing == []
            with lakebed.open(target) as copy:
                check_alike(source, copy, whole=whole)
                stats = copy.stats()
                assert stats.history == (source.stats().history if whole else 0)
            shutil.rmtree(target)
    record_property(f"copies killed ({mode})", f"{kills}, none of which lost or doubled anything")
