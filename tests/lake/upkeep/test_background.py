"""Upkeep in the background: it ends with its lake, at a fork and at a failure, and one process of
many does it."""

from __future__ import annotations

import gc
import json
import logging
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.config.problems import InvalidConfiguration
from lakebed.errors import ConfigurationError, StorageError, ValidationError
from lakebed.lake.entries.stats import Upkeep
from lakebed.lake.lake import Lake
from lakebed.lake.upkeep import background
from lakebed.lake.upkeep.turns import in_words
from lakebed.testing import open_lake
from tests.lake.processes import run_alone, run_together

OFTEN = """
import warnings
import lakebed
from lakebed.lake.upkeep import background
background.FIRST, background.LOOK = 0.0, 0.01
"""


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lakes that look at once whether it is their turn."""
    monkeypatch.setattr(background, "FIRST", 0.0)
    monkeypatch.setattr(background, "LOOK", 0.01)


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def upkeep(lake: Lake) -> Upkeep:
    told = lake.stats().upkeep
    assert told is not None
    return told


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lakebed-upkeep"]


def fill(lake: Lake) -> None:
    """Put garbage into a lake."""
    for text in ("first", "second"):
        lake.store_batch({"key": f"k{n}", "value": f"{text} {n}"} for n in range(2500))
    lake.store("brief", 1, ttl=0.001)


@pytest.mark.usefixtures("often")
def test_a_lake_keeps_itself_clean(tmp_path: Path) -> None:
    with lakebed.open(tmp_path, inline_threshold=1, auto_maintain="full") as lake:
        fill(lake)
        until(lambda: upkeep(lake).ran)
        told = upkeep(lake)
        assert told.did is not None
        assert told.by is not None
        assert in_words(told).startswith("full; last run 20")
        assert (told.mode, told.failed, told.holder) == ("full", None, None)
        assert lake["k1"] == "second 1"
        assert lake.verify().problems == []
    assert threads() == []


def test_a_short_process_does_nothing(tmp_path: Path) -> None:
    with lakebed.open(tmp_path, auto_maintain="full") as lake:
        assert len(threads()) == 1
        assert upkeep(lake).ran is None


def test_who_may_only_read_maintains_nothing(tmp_path: Path) -> None:
    lakebed.open(tmp_path).close()
    with lakebed.open(tmp_path, auto_maintain="full", read_only=True):
        assert threads() == []


def test_two_processes_and_one_does_it(tmp_path: Path) -> None:
    code = """
from lakebed.errors import LakebedError
runs, looks = 0, 0
ask = background.maintain_in_turn
def counted(*arguments, **options):
    global runs, looks
    done = ask(*arguments, **options)
    looks += 1
    runs += done is not None
    return done
background.maintain_in_turn = counted
with lakebed.open(folder + "/lake", auto_maintain="full") as lake:
    while looks < 20 or lake.stats().upkeep.ran is None:
        time.sleep(0.01)
print(runs)
"""
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake)
    printed = run_together(code, tmp_path, 2, OFTEN)
    assert sorted(map(int, printed)) == [0, 1]
    with lakebed.open(tmp_path / "lake") as lake:
        told = upkeep(lake)
        assert told.did is not None
        assert told.did["expired"] == 1


@pytest.mark.usefixtures("often")
def test_closing_ends_it_in_the_middle(tmp_path: Path) -> None:
    at_it, closing = threading.Event(), threading.Event()
    lake = lakebed.open(tmp_path, inline_threshold=1, auto_maintain="off")
    fill(lake)
    collect: Any = lake._catalog.collect

    def slowly(*arguments: Any, **options: Any) -> Any:
        found = collect(*arguments, **options)
        at_it.set()
        assert closing.wait(60)
        return found

    lake._catalog.collect = slowly  # type: ignore[method-assign]
    lake._auto_maintain = "full"
    lake._maintain_by_itself()
    assert at_it.wait(60)
    assert upkeep(lake).holder is not None
    closer = threading.Thread(target=lake.close)
    closer.start()
    (thread,) = threads()
    stop = lake._background._stop if lake._background else None
    assert stop is not None
    assert stop.wait(60)
    assert thread.is_alive()  # in the transaction, which is whole in any case
    closing.set()
    closer.join(60)
    assert not thread.is_alive()
    with lakebed.open(tmp_path) as lake:
        told = upkeep(lake)
        assert (told.holder, told.ran, told.failed) == (None, None, None)
        left = lake.collect().objects
        assert 0 < left < 2500  # some of it was done
        assert lake.verify().problems == []


@pytest.mark.usefixtures("often")
def test_closing_ends_a_wait_for_a_lock(tmp_path: Path) -> None:
    """It would wait for three weeks."""
    with lakebed.open(tmp_path) as lake:
        lake.store("brief", 1, ttl=0.001)
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        lake = lakebed.open(tmp_path, lock_timeout=2_000_000, auto_maintain="full")
        until(lambda: waits(threads()[0]))
        lake.close()
    finally:
        other.close()
    assert threads() == []


def waits(thread: threading.Thread) -> bool:
    """Whether a thread is where SQLite's locks are waited for."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_name != "_wait":
        frame = frame.f_back
    return frame is not None


@pytest.mark.usefixtures("often")
def test_a_lake_that_is_dropped_ends_it(tmp_path: Path) -> None:
    lakes = [lakebed.open(tmp_path, auto_maintain="full")]
    until(lambda: upkeep(lakes[0]).ran)
    lakes.clear()

    def gone() -> bool:
        gc.collect()
        return threads() == []

    until(gone)


def test_a_process_that_ends_without_closing(tmp_path: Path) -> None:
    code = """
lake = lakebed.open(folder + "/lake", auto_maintain="full")
lake["a"] = 1
while lake.stats().upkeep.ran is None:
    pass
"""
    run_alone(OFTEN + code, tmp_path)


def test_a_fork_ends_it_and_both_go_on(tmp_path: Path) -> None:
    code = """
import os, signal, sys, threading, time
warnings.simplefilter("ignore", DeprecationWarning)

def working():
    return [t for t in threading.enumerate() if t.name == "lakebed-upkeep"]

lake = lakebed.open(folder + "/lake", inline_threshold=1, auto_maintain="full")
for n in range(10):
    for text in ("first", "second"):
        lake.store_batch({"key": f"k{n}", "value": f"{text} {n}"} for n in range(500))
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        try:
            assert len(working()) == 1, working()
            lake.store(f"child/{n}", n)
            assert len(lake.search("child")) == 0
            lake.close()
            assert not working()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    assert len(working()) == 1
    assert os.waitpid(pid, 0)[1] == 0
while lake.stats().upkeep.ran is None:
    time.sleep(0.01)
lake.close()
"""
    run_alone(OFTEN + code, tmp_path)
    with lakebed.open(tmp_path / "lake") as lake:
        assert len(lake) == 510
        assert lake.verify().problems == []


@pytest.mark.usefixtures("often")
def test_a_failure_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lakebed.upkeep")
    monkeypatch.setattr(background, "EVERY", 0.01)
    broken = threading.Event()
    broken.set()
    tries = 0

    def told(name: str) -> list[str]:
        """What was logged of this lake: those of other tests may be at work as well."""
        return [message for message in caplog.messages if name in message]

    with open_lake(tmp_path) as lake:
        count = lake._catalog.expired

        def expired() -> int:
            nonlocal tries
            tries += 1
            if broken.is_set():
                raise StorageError("the disk is gone")
            return count()

        monkeypatch.setattr(lake._catalog, "expired", expired)
        lake._auto_maintain = "full"
        lake._maintain_by_itself()
        until(lambda: tries >= 3)
        assert upkeep(lake).failed == "the disk is gone"
        name = lake.name
        (said,) = told(name)
        assert said.startswith(f"the upkeep of {name} in the background failed")
        assert said.endswith("the disk is gone")
        broken.clear()
        until(lambda: upkeep(lake).ran)
        assert upkeep(lake).failed is None
    assert told(name)[1:] == [f"the upkeep of {name} in the background works again"]


def test_what_is_no_mode_is_refused(tmp_path: Path) -> None:
    wrong: Any = "always"
    with pytest.raises(ValidationError, match="'off', 'light' or 'full', got 'always'"):
        lakebed.open(tmp_path / "lake", auto_maintain=wrong)
    assert not (tmp_path / "lake").exists()
    with pytest.raises(ConfigurationError, match="auto_maintain cannot be combined"):
        lakebed.open({"backend": "ducklake"}, auto_maintain="full")
    with pytest.raises(InvalidConfiguration, match="auto_maintain"):
        lakebed.open({"backend": "ducklake", "auto_maintain": "always"})


@pytest.mark.parametrize("mode", ["off", "light", "full"])
def test_in_a_configuration(tmp_path: Path, mode: str) -> None:
    """Where YAML takes the word `off` for false."""
    file = tmp_path / "lake.yaml"
    file.write_text(f"backend: ducklake\npath: {json.dumps(str(tmp_path / 'lake'))}\n")
    with file.open("a") as text:
        text.write(f"auto_maintain: {mode}\n")
    with lakebed.open(file) as lake:
        assert upkeep(lake).mode == mode
        assert lake.scope("a").stats().upkeep is None
        assert len(threads()) == (mode == "full")
