"""What others do to segments between the steps of a client that builds, merges or purges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lakebed
from lakebed.errors import StorageError
from lakebed.lake.lake import Lake
from lakebed.lake.search import building as search_building
from lakebed.lake.search import index as search_index
from lakebed.objects.local import LocalStore
from lakebed.testing import open_lake


class Clients(NamedTuple):
    """Two clients of one lake, in a folder."""

    a: Lake
    b: Lake
    folder: Path


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Clients]:
    with lakebed.open(tmp_path / "lake") as a, lakebed.open(tmp_path / "lake") as b:
        yield Clients(a, b, tmp_path / "lake")


def build(lake: Lake) -> None:
    """Build a segment of all that waits."""
    lake._searcher().build_waiting()


def keys(lake: Lake, query: str) -> list[str]:
    found = lake.search(query, limit=1000)
    assert found.total == len(found)
    return sorted(hit.key for hit in found)


def everywhere(clients: Clients, query: str) -> list[str]:
    """The keys that both clients find, and one that opens the lake now."""
    with lakebed.open(clients.folder) as fresh:
        found = [keys(lake, query) for lake in (clients.a, clients.b, fresh)]
    assert found[0] == found[1] == found[2]
    return found[0]


def first(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], None]) -> None:
    """Once, before the call of that name, somebody acts."""
    call, left = getattr(owner, name), [act]

    def wrapped(*args: Any, **options: Any) -> Any:
        if left:
            left.pop()()
        return call(*args, **options)

    monkeypatch.setattr(owner, name, wrapped)


class _Died(Exception):
    """A client that goes no further."""


def _die() -> None:
    raise _Died


def indexed_keys(lake: Lake) -> set[str]:
    """The keys in all segments, of documents that nobody sees too."""
    segments = lake._searcher().segments.now().segments
    return {segment.key(n) for segment in segments for n in range(len(segment))}


def damage(folder: Path) -> int:
    """Spoil every segment, as a disk does that loses a block; how many."""
    paths = list((folder / "objects").rglob("*.segment"))
    for path in paths:
        spoilt = path.with_suffix(".spoilt")
        spoilt.write_bytes(b"spoilt" * 100)
        spoilt.replace(path)
    return len(paths)


def test_a_purge_that_was_interrupted_stays_done(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = clients
    a.store("k", "a canary")
    a.store("other", "word")
    build(a)
    with monkeypatch.context() as patched:
        first(patched, search_index.SearchIndex, "forget", _die)
        with pytest.raises(_Died):
            a.purge("k")
    b.store("new", "word")
    build(b)
    assert everywhere(clients, "canary word") == ["new", "other"]
    b.maintain()
    assert everywhere(clients, "canary word") == ["new", "other"]
    assert "k" not in indexed_keys(b)
    assert list(b._catalog.ended()) == []


def test_what_a_purged_key_had_before_goes_after_an_interruption(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that the purge removed was in no segment; one that it had replaced is."""
    a, b, _ = clients
    a.store("k", "a canary")
    a.store("other", "word")
    build(a)
    a.store("k", "something else")
    with monkeypatch.context() as patched:
        first(patched, search_index.SearchIndex, "forget", _die)
        with pytest.raises(_Died):
            a.purge("k")
    b.maintain()
    assert "k" not in indexed_keys(b)


def test_what_ended_in_a_segment_that_another_has_just_built(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = clients
    b.store_batch({"key": f"{n}", "value": "word"} for n in range(5))

    def build_and_delete() -> None:
        build(b)
        b.delete("3")
        b.store("new", "word")

    first(monkeypatch, a._catalog, "next_waiting", build_and_delete)
    build(a)
    build(a)
    assert everywhere(clients, "word") == ["0", "1", "2", "4", "new"]


def test_two_that_build_what_a_damaged_segment_held(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, folder = clients
    a.store_batch({"key": f"{n}", "value": "word"} for n in range(5))
    build(a)
    assert damage(folder) == 1
    with lakebed.open(folder) as fresh:
        assert keys(fresh, "word") == ["0", "1", "2", "3", "4"]  # they wait again
    first(monkeypatch, a._catalog, "add_segment", lambda: build(b))
    build(a)
    assert everywhere(clients, "word") == ["0", "1", "2", "3", "4"]


def test_several_damaged_segments(clients: Clients) -> None:
    a, _, folder = clients
    for part in range(2):
        a.store_batch({"key": f"{part}/{n}", "value": f"word{part} word"} for n in range(5))
        build(a)
    a.delete("1/1")
    build(a)
    assert damage(folder) == 2
    with lakebed.open(folder) as fresh:
        assert len(keys(fresh, "word")) == 9
        assert keys(fresh, "word1") == ["1/0", "1/2", "1/3", "1/4"]
        build(fresh)
    assert len(everywhere(clients, "word")) == 9


def test_another_builds_while_a_damaged_segment_is_dropped(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, _, folder = clients
    for part in range(2):
        a.store_batch({"key": f"{part}/{n}", "value": "word"} for n in range(5))
        build(a)
    damage(folder)
    with lakebed.open(folder) as c, lakebed.open(folder) as d:

        def drop_and_build() -> None:
            keys(d, "word")
            build(d)

        first(monkeypatch, c._catalog, "replace_segments", drop_and_build)
        assert len(keys(c, "word")) == 10
        build(c)
    assert len(everywhere(clients, "word")) == 10


@pytest.mark.parametrize("prefix", [False, True])
def test_a_key_that_is_stored_again_while_it_is_purged(
    clients: Clients, monkeypatch: pytest.MonkeyPatch, prefix: bool
) -> None:
    a, b, _ = clients
    a.store("k/1", "a canary")
    a.store("other", "word")
    build(a)

    def store_again() -> None:
        b.store("k/1", "new word")
        b.store("k/2", "new word")
        build(b)

    first(monkeypatch, a._searcher(), "forget", store_again)
    a.purge(prefix="k/") if prefix else a.purge("k/1")
    assert everywhere(clients, "word") == ["k/1", "k/2", "other"]
    assert everywhere(clients, "canary") == []


def test_a_key_that_is_stored_again_after_an_interrupted_purge(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, _ = clients
    a.store("k", "a canary")
    build(a)
    with monkeypatch.context() as patched:
        first(patched, search_index.SearchIndex, "forget", _die)
        with pytest.raises(_Died):
            a.purge("k")
    b.store("k", "new word")
    build(b)
    b.maintain()
    assert everywhere(clients, "word") == ["k"]
    assert everywhere(clients, "canary") == []


def test_a_segment_whose_storage_is_down_is_not_lost(tmp_path: Path) -> None:
    store = SometimesDown(LocalStore(tmp_path))
    with open_lake(tmp_path, objects=store) as lake:
        for number in range(3):
            lake.store_batch({"key": f"{number}/{n}", "value": "word"} for n in range(5))
            build(lake)
        lake.delete("0/0")
        lake.store("new", "word")
        build(lake)  # which notes the end in its own row
        lake.delete("1/1")
    expected = [f"{a}/{b}" for a in range(3) for b in range(5) if a != b or a == 2] + ["new"]
    with open_lake(tmp_path, objects=store) as lake:
        store.down = True
        assert keys(lake, "word") == expected  # all values are in the catalog
        lake.store("newer", "word")
        build(lake)
        assert keys(lake, "word") == sorted([*expected, "newer"])
        store.down = False
        assert keys(lake, "word") == sorted([*expected, "newer"])
        build(lake)
        assert keys(lake, "word") == sorted([*expected, "newer"])
    with open_lake(tmp_path, objects=store) as lake:
        assert keys(lake, "word") == sorted([*expected, "newer"])


class SometimesDown:
    """A store whose segments cannot be read while it is `down`, nor anything written."""

    def __init__(self, inner: LocalStore) -> None:
        self._inner = inner
        self.down = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self, path: str) -> bytes:
        if self.down and path.endswith(".segment"):
            raise StorageError("it is down")
        return self._inner.read(path)


def test_versions_that_two_threads_learn_at_once_count_once(clients: Clients) -> None:
    a = clients.a
    a.store_batch({"key": f"{n}", "value": "word"} for n in range(3))
    a.search("word")
    rows = a._catalog.get_versions(sorted(a._searcher().segments.tail.known))
    texts = search_index.TextReader(a.read_contents).texts([version.row for version in rows])
    a._searcher().segments.tail.add(
        search_building.documents(list(zip(rows, texts, strict=True)), None), None
    )
    assert keys(a, "word") == ["0", "1", "2"]


def test_segments_that_are_full_leave_nothing_waiting(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakebed.search.building.MAX_POSTINGS", 100)
    monkeypatch.setattr(search_building, "_PAGE_ROWS", 10)
    a = clients.a
    a.store_batch({"key": f"{n:03}", "value": f"word number{n}"} for n in range(300))
    a._searcher().build(search_index.TextReader(a.read_contents), patient=True)
    assert a._catalog.count_waiting(1000) == 0
    assert len(everywhere(clients, "word")) == 300
