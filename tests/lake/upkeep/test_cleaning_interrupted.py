"""Cleaning that is interrupted, by Ctrl-C or kill -9, loses nothing and keeps what it finished."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import lakebed
from lakebed.lake.contents.uploading import LEASE_SECONDS
from lakebed.testing import FakeClock, open_lake
from tests.lake.processes import start

COUNT = 6000
FINISHED = 3

COMPACT = """
import signal, sys, time
import lakebed
import lakebed.lake.upkeep.compacting as compacting
signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background ignores it
compacting.PACK_OBJECTS = 500  # small packs, so that there are several
told = 0
def tell(done, total):
    global told
    told += 1
    print(done, flush=True)
    time.sleep(60 if told == 8 else 0)  # however late the signal comes, it is not done by then
with lakebed.open(sys.argv[1]) as lake:
    lake.compact(progress=tell)
"""
PURGE = """
import signal, sys, time
import lakebed
import lakebed.lake.upkeep.purging as purging
signal.signal(signal.SIGINT, signal.default_int_handler)
purging._STEP = 500
told = 0
def tell(done, total):
    global told
    told += 1
    print(done, flush=True)
    time.sleep(60 if told == 8 else 0)
with lakebed.open(sys.argv[1]) as lake:
    lake.purge(prefix="v/", progress=tell)
"""


def values() -> dict[str, str]:
    return {f"v/{n:05}": f"zanzibar {n} " * 8 for n in range(COUNT)}


def interrupt(code: str, folder: Path, how: signal.Signals) -> None:
    """Run the code until it has told of some steps, then stop it."""
    process = start(code, folder)
    assert process.stdout is not None
    for _ in range(FINISHED):
        assert process.stdout.readline().strip().isdigit()
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    if how is signal.SIGINT:
        assert "KeyboardInterrupt" in errors
    assert process.returncode != 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store_batch({"key": key, "value": value} for key, value in values().items())
        lake["kept"] = "kept"
    return tmp_path / "lake"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_compaction_keeps_its_finished_packs(folder: Path, how: signal.Signals) -> None:
    interrupt(COMPACT, folder, how)
    with lakebed.open(folder) as lake:
        stats = lake.stats(exact=True)
        assert FINISHED <= stats.packs < COUNT / 500
        assert stats.inline_objects <= COUNT + 1 - FINISHED * 500
        found = dict(lake.items())
        assert found.pop("kept") == "kept"
        assert found == values()
        assert not lake.verify().problems
        lake.compact()
        assert lake.stats(exact=True).inline_objects == 1  # too small to move
        assert dict(lake.items()) == values() | {"kept": "kept"}
    # What was being written is under a lease that runs out.
    clock = FakeClock()
    clock.advance(LEASE_SECONDS + 100 * 365 * 86_400)
    with open_lake(folder, clock=clock) as lake:
        for _ in range(2):  # a temporary file is an orphan when the lease of its name has run out
            clock.advance(2 * 86_400)
            lake.maintain()
            lake.collect(0)
        assert len(list((folder / "packs").iterdir())) == lake.stats().packs
        assert not lake.verify().problems


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_purge_is_finished_by_calling_again(folder: Path, how: signal.Signals) -> None:
    with lakebed.open(folder) as lake:
        assert lake.search("zanzibar").total == COUNT
        lake.compact()
        lake.create_snapshot("s")
    interrupt(PURGE, folder, how)
    with lakebed.open(folder) as lake:
        left = {key: value for key, value in lake.items() if key != "kept"}
        assert 0 < len(left) <= COUNT - FINISHED * 500
        assert left.items() <= values().items()
        assert lake.search("zanzibar").total == len(left)
        assert lake.purge(prefix="v/").entries == len(left)
        assert dict(lake.items()) == dict(lake.at("s").items()) == {"kept": "kept"}
        assert not lake.verify().problems
        assert not list((folder / "packs").iterdir())
    for path in folder.glob("catalog.db*"):
        assert b"zanzibar" not in path.read_bytes()
