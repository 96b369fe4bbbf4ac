"""Pruning, and backups that are interrupted: a kept point always has all that it needs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import patch

import pyarrow as pa
import pytest

import lakebed
from lakebed.errors import ConflictError, CorruptionError, NotFoundError
from lakebed.lake.backup import place as places
from lakebed.lake.backup import running
from lakebed.lake.copying.entries import EntryCopy
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.objects.store import StoredFile
from tests.forked import Forked
from tests.lake.backup.test_backup import contents
from tests.lake.copying import doomed

Filled = Callable[..., Lake]
Wanted = dict[str, dict[str, Any]]
DAY = 86_400
SNAPSHOTS = 5
FOREIGN = (
    "photo.jpg",
    "objects/readme.txt",
    "objects/ab/notes.json",
    "packs/mine.parquet",
    "points/mine/catalog.sqlite",
    "runs/notes.json",
    "other/objects/ab/" + "a" * 64 + "-" + "b" * 16 + ".json",
)


def check_points(destination: Path, wanted: Mapping[str, dict[str, Any]]) -> None:
    """Each point that is there gives back what it was made of."""
    for point in lakebed.backups(destination):
        target = destination.with_name(f"check-{os.urandom(4).hex()}")
        report = lakebed.restore_backup(destination, target, point=point.id)
        assert report.differing == []
        if point.id in wanted:
            with lakebed.open(target) as restored:
                assert dict(restored.items()) == wanted[point.id]
                assert restored.verify().problems == []


def change(lake: Lake, rng: random.Random) -> None:
    for _ in range(6):
        key = f"k{rng.randrange(8)}"
        if rng.random() < 0.3:
            lake.delete(key)
        else:
            lake[key] = f"{rng.randrange(12)} " * 2000
    lake.store_batch({"key": f"b{rng.randrange(9)}", "value": rng.randrange(9)} for _ in range(5))
    lake.append("grown", pa.table({"n": range(rng.randrange(900))}))


def test_kept_points_stay_whole(tmp_path: Path, soak: bool) -> None:
    """Backups and prunes in any order; what belongs to nobody here is never touched."""
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng = random.Random(seed)
    destination, wanted = tmp_path / "b", Wanted()
    with lakebed.open(tmp_path / "lake", inline_threshold=16) as lake:
        for step in range(200 if soak else 9):
            change(lake, rng)
            made = lakebed.backup(lake, destination, history=rng.random() < 0.3)
            wanted[made.point] = dict(lake.items())
            if not step:
                for name in FOREIGN:
                    path = destination / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(b"mine")
            if rng.random() < 0.4:
                keep = rng.randrange(1, 4)
                report = lakebed.prune_backups(destination, keep)
                assert report.kept == [id_ for id_ in wanted if id_ in report.kept][-keep:]
                assert report.kept[-1] == made.point
    check_points(destination, wanted)
    lakebed.prune_backups(destination, 1)
    check_points(destination, wanted)
    assert all((destination / name).read_bytes() == b"mine" for name in FOREIGN)
    (kept,) = lakebed.backups(destination)
    needed = {*places.open_place(destination, lambda _: {}).files_of(_manifest(destination))}
    here = {path.relative_to(destination).as_posix() for path in contents(destination)}
    assert here - set(FOREIGN) == needed
    assert kept.id in wanted


def _manifest(destination: Path) -> Any:
    with closing(places.open_place(destination, lambda _: {})) as place:
        return place.points()[-1]


def test_what_cannot_be_told_stops_a_prune(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    for number in range(3):
        lake["n"] = f"{number} " * 3000
        point = lakebed.backup(lake, tmp_path / "b").point
    (tmp_path / "b" / "points" / point / "files.parquet").write_bytes(b"nonsense")
    before = contents(tmp_path / "b")
    with pytest.raises(CorruptionError, match=r"files\.parquet"):
        lakebed.prune_backups(tmp_path / "b", 1)
    assert contents(tmp_path / "b") == before


def test_a_run_that_may_be_alive_is_waited_for(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    first = lakebed.backup(lake, tmp_path / "b")
    lake["n"] = "old " * 3000  # in a file of its own
    second = lakebed.backup(lake, tmp_path / "b")
    lake["n"] = "new " * 3000
    mark = tmp_path / "b" / "runs" / "backup-0123456789abcdef.json"
    mark.parent.mkdir(exist_ok=True)
    mark.write_bytes(b"{}")
    lake.create_snapshot("backup-0123456789abcdef")  # as a backup that was killed leaves it
    lakebed.backup(lake, tmp_path / "b")
    report = lakebed.prune_backups(tmp_path / "b", 1)
    assert (report.removed, report.files, report.waiting) == ([first.point, second.point], 0, True)
    os.utime(mark, (time.time() - DAY - 60,) * 2)
    lakebed.backup(lake, tmp_path / "b")
    assert not mark.exists()
    assert lake.snapshots() == []
    report = lakebed.prune_backups(tmp_path / "b", 1)
    assert (report.files, report.waiting) == (1, False)
    check_points(tmp_path / "b", {})


def test_a_prune_leaves_the_next_backup_to_drop_a_snapshot(filled: Filled, tmp_path: Path) -> None:
    """A prune has no lake, so it must not forget that a killed backup has left a snapshot there."""
    lake = filled()
    lakebed.backup(lake, tmp_path / "b")
    mark = tmp_path / "b" / "runs" / "backup-0123456789abcdef.json"
    mark.write_bytes(b"{}")
    os.utime(mark, (time.time() - DAY - 60,) * 2)
    lake.create_snapshot("backup-0123456789abcdef", message="while a backup runs")
    for _ in range(2):
        assert lakebed.prune_backups(tmp_path / "b", 1).waiting is False
        assert not mark.exists()
        assert len(lake.snapshots()) == 1
    lakebed.backup(lake, tmp_path / "b")
    assert lake.snapshots() == []
    assert [*mark.parent.iterdir()] == []


@pytest.mark.parametrize("history", [False, True])
def test_a_backup_whose_snapshot_is_dropped_fails(
    filled: Filled, tmp_path: Path, history: bool
) -> None:
    """It has lost what kept the moment, so it makes no point; the next one does."""
    lake = filled()
    lake.create_snapshot("s")
    told = EntryCopy.run

    def dropping(copy: EntryCopy, *args: Any) -> None:
        (kept,) = (row for row in lake.snapshots() if row.name.startswith("backup-"))
        lake.drop_snapshot(kept)
        lake.delete("alone")
        lake.maintain()
        told(copy, *args)

    with (
        patch.object(EntryCopy, "run", dropping),
        pytest.raises(NotFoundError, match=r"snapshot .* has been dropped"),
    ):
        lakebed.backup(lake, tmp_path / "b", history=history)
    assert lakebed.backups(tmp_path / "b") == []
    wanted = {lakebed.backup(lake, tmp_path / "b", history=history).point: dict(lake)}
    assert [row.name for row in lake.snapshots()] == ["s"]
    check_points(tmp_path / "b", wanted)


def test_a_clock_that_was_wrong(filled: Filled, tmp_path: Path) -> None:
    """The newest point is the one that was made last, and no prune takes another for it."""
    lake = filled()
    with lake._catalog.at_time(lambda: lake_time + 400 * DAY * 10**6):  # type: ignore[attr-defined]
        lake_time = int(time.time() * 1e6)
        ahead = lakebed.backup(lake, tmp_path / "b")
    lake["n"] = 1
    right = lakebed.backup(lake, tmp_path / "b", keep=1)
    assert right.removed == [ahead.point]
    check_points(tmp_path / "b", {right.point: dict(lake)})


def test_what_an_interrupted_backup_wrote_is_used(filled: Filled, tmp_path: Path) -> None:
    lake = filled()
    lake.store("table", pa.table({"n": range(9)}))
    with patch.object(running, "put_point", side_effect=_Killed), pytest.raises(_Killed):
        lakebed.backup(lake, tmp_path / "b")
    assert lakebed.backups(tmp_path / "b") == []
    written = contents(tmp_path / "b")
    (table,) = (tmp_path / "b" / "objects").rglob("*.parquet")
    table.write_bytes(table.read_bytes()[:-1] + b"?")
    report = lakebed.backup(lake, tmp_path / "b")
    assert report.resumed == report.objects - 1  # the table is damaged
    assert len(contents(tmp_path / "b")) == len(written) + 1
    check_points(tmp_path / "b", {})


class Hooked(LocalStore):
    """A folder in which something else happens before the nth request."""

    def __init__(self, root: str, before: Callable[[], None]) -> None:
        super().__init__(root)
        self._before = before

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        self._before()
        return super().read(path, offset, length)

    def size(self, path: str) -> int:
        self._before()
        return super().size(path)

    def delete(self, paths: Iterable[str]) -> None:
        self._before()
        super().delete(paths)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        self._before()
        yield from super().list(prefix)

    @contextmanager
    def open_write(self, path: str) -> Iterator[BinaryIO]:
        with super().open_write(path) as file:
            yield file
            self._before()


class Disturbance:
    """Does something once, before the nth request of whatever is going on."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self._left = number
        self._act = act
        self.happened = False

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.happened = True
            self._act()


CASES = ("prune in backup", "backup in prune", "kill of backup", "kill of prune")


@pytest.mark.parametrize("case", CASES)
def test_at_any_moment(tmp_path: Path, case: str, soak: bool) -> None:
    """A prune at any moment of a backup, a backup at any moment of a prune, and a kill of either:
    every point that is there is whole, and the next backup and prune do what they should."""
    number, step = random.randrange(1, 5), 1 if soak else random.randrange(5, 9)
    while _disturbed(tmp_path / str(number), case, number):
        number += step
    assert number > 10


def _disturbed(folder: Path, case: str, number: int) -> bool:
    """Disturb a backup or a prune before its nth request. Return whether it had as many."""
    destination, wanted = folder / "b", Wanted()
    with lakebed.open(folder / "lake") as lake:
        for text in ("one ", "two "):
            lake["a"], lake["table"] = text * 3000, pa.table({"n": [text]})
            made = lakebed.backup(lake, destination)
            wanted[made.point] = dict(lake)
        lake["a"] = "one " * 3000  # which only a point has that is to be pruned
        outer, inner = _acts(case, lake, destination)
        disturbance = Disturbance(number, inner)
        hooked = patch.object(places, "open_store", lambda uri, _: Hooked(uri, disturbance))
        with hooked, suppress(_Killed, ConflictError, CorruptionError):
            outer()
        check_points(destination, wanted)
        wanted[lakebed.backup(lake, destination).point] = dict(lake)
        check_points(destination, wanted)
        lakebed.prune_backups(destination, 1)
        check_points(destination, wanted)
    return disturbance.happened


class _Killed(BaseException):
    pass


def _acts(
    case: str, lake: Lake, destination: Path
) -> tuple[Callable[[], object], Callable[[], object]]:
    """What goes on, and what happens in between."""

    def back_up() -> object:
        return lakebed.backup(lake, destination)

    def prune() -> object:
        return lakebed.prune_backups(destination, 1)

    def kill() -> object:
        raise _Killed

    return {
        "prune in backup": (back_up, prune),
        "backup in prune": (prune, back_up),
        "kill of backup": (back_up, kill),
        "kill of prune": (prune, kill),
    }[case]


def files(folder: Path) -> list[Path]:
    """All files in a folder that a process may be changing."""
    return [*folder.rglob("*")] if folder.exists() else []


@pytest.mark.parametrize("mode", ["entries", "history"])
def test_killed_backups(
    tmp_path: Path, mode: str, soak: bool, record_property: Callable[[str, object], None]
) -> None:
    """Earlier points stay whole, and the next backup uses what was written."""
    rng = random.Random(random.getrandbits(32))  # of the run's seed
    folder, destination, wanted = tmp_path / "lake", tmp_path / "b", Wanted()
    kills = resumed = 0
    for round_ in range(200 if soak else 2):
        with lakebed.open(folder) as lake:
            lake.store_batch(
                {"key": f"n{n:03}", "value": f"{rng.random()} " * 900} for n in range(99)
            )
            lake.create_snapshot(f"s{round_}")
            if round_ >= SNAPSHOTS:
                lake.drop_snapshot(f"s{round_ - SNAPSHOTS}")
        for turn in range(3):
            process = Forked(
                partial(doomed.backup, history=mode == "history"),
                folder,
                destination,
                folder=tmp_path,
                name=f"said-{round_}-{turn}",
            )
            process.wait_for(1)
            more = len(files(destination)) + rng.randint(0, 6)
            while process.is_alive() and len(files(destination)) < more:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.05))
            process.kill()
            kills += "done" not in process.said()
        with lakebed.open(folder) as lake:
            report = lakebed.backup(lake, destination, history=mode == "history")
            wanted[report.point] = dict(lake.items())
            resumed += report.resumed > 0
            if not round_ % 10:
                check_points(destination, wanted)
                lakebed.prune_backups(destination, 2)
    check_points(destination, wanted)
    note = f"{kills}, of which {resumed} had written what the next one used; every point whole"
    record_property(f"backups killed ({mode})", note)
