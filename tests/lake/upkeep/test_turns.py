"""Whose turn it is to maintain a lake: one process of many, on every kind of catalog."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.opened import CatalogOptions
from lakebed.catalog.protocol import Catalog
from lakebed.catalog.registry import open_catalog
from lakebed.errors import ConfigurationError, StorageError
from lakebed.lake.lake import Lake
from lakebed.lake.upkeep.maintenance import maintain_in_turn
from lakebed.lake.upkeep.turns import HOLD, in_words, note_of, take_turn
from lakebed.testing import FakeClock, open_lake
from tests.lake.processes import start

EVERY = 600.0
MICROS = round(EVERY * 1_000_000)
KINDS = ("sqlite", "sqlalchemy", "bucket", "postgres", "mariadb")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=KINDS)
def opening(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> Callable[..., Lake]:
    """A function that opens one lake again and again."""
    name, kind = f"t{secrets.token_hex(6)}", request.param
    spec: dict[str, Any] = {"type": kind}
    if kind == "sqlite":
        spec["path"] = str(tmp_path / "names.db")
    elif kind == "sqlalchemy":
        spec["url"] = f"sqlite:///{tmp_path}/names.db"
    elif kind == "bucket":
        spec["url"] = str(tmp_path / "log")
    elif kind == "postgres":
        spec |= {"url": request.getfixturevalue("postgres_18").url(), "schema": name}
    else:
        spec["url"] = request.getfixturevalue("mariadb").url(name)

    def open_again() -> Lake:
        options = CatalogOptions(clock=clock, cache=str(tmp_path / secrets.token_hex(4)))
        return open_lake(catalog=open_catalog(spec, options))

    return open_again


def test_one_of_two_has_the_turn(opening: Callable[..., Lake], clock: FakeClock) -> None:
    with opening() as lake, opening() as other:
        lake.store("a", 1, ttl=1)
        clock.advance(2)
        with take_turn(lake._catalog, MICROS) or pytest.fail("nobody else is there"):
            assert take_turn(lake._catalog, MICROS) is None
            assert maintain_in_turn(other, EVERY) is None
            told = other.stats().upkeep
            assert told is not None
            assert told.holder == note_of(lake._catalog).holder
            assert "process" in str(told.holder)
        done = maintain_in_turn(other, EVERY)  # given back without a run
        assert done is not None
        assert done.expired == 1
        assert maintain_in_turn(lake, EVERY) is None  # the other one was here
        told = lake.stats().upkeep
        assert told is not None
        assert (told.holder, told.ran, told.failed) == (None, clock.now, None)
        assert told.did is not None
        assert told.did["expired"] == 1
        clock.advance(EVERY)
        assert maintain_in_turn(lake, EVERY) is not None


def test_a_lease_that_is_not_renewed_ends(opening: Callable[..., Lake], clock: FakeClock) -> None:
    with opening() as lake, opening() as other:
        lost = take_turn(lake._catalog, MICROS)
        assert lost is not None
        clock.advance(HOLD / 2_000_000)
        lost._renew_at = 0.0
        assert not lost.passed()  # it has been renewed
        clock.advance(HOLD / 2_000_000)
        assert maintain_in_turn(other, EVERY) is None
        clock.advance(HOLD / 2_000_000)
        with take_turn(other._catalog, MICROS) or pytest.fail("the lease has ended"):
            lost._renew_at = 0.0
            assert lost.passed()  # so whoever was paused stops
            with lost:
                lost.did = {}
            assert note_of(lake._catalog).token  # the other one's, still
        assert note_of(lake._catalog).began == 0


def test_a_failure_is_noted_and_tried_again(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_lake(tmp_path, clock=clock) as lake:
        with monkeypatch.context() as patch:
            patch.setattr(lake._catalog, "trash", fail)
            with pytest.raises(StorageError):
                maintain_in_turn(lake, EVERY)
        told = lake.stats().upkeep
        assert told is not None
        assert (told.holder, told.ran, told.failed) == (None, None, "the disk is gone")
        assert in_words(told) == (
            "light; no background run so far; the newest run failed: the disk is gone"
        )
        assert maintain_in_turn(lake, EVERY) is not None  # at once: it may work elsewhere
        told = lake.stats().upkeep
        assert told is not None
        assert told.failed is None


def fail(*_: object) -> None:
    raise StorageError("the disk is gone")


def test_the_lease_of_a_killed_process_ends(tmp_path: Path) -> None:
    """It is killed in the middle of a run."""
    code = """
import sys, time, lakebed
from lakebed.lake.upkeep.maintenance import maintain_in_turn
lake = lakebed.open(sys.argv[1])
lake.store("a", 1, ttl=0.001)
def hang(*_):
    print("at it", flush=True)
    time.sleep(600)
lake._catalog.expire = hang
maintain_in_turn(lake, 600)
"""
    with start(code, tmp_path / "lake") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at it\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    clock = FakeClock(datetime.now(UTC))
    with open_lake(tmp_path / "lake", clock=clock) as lake:
        assert maintain_in_turn(lake, EVERY) is None
        told = lake.stats().upkeep
        assert told is not None
        assert str(process.pid) in str(told.holder)
        clock.advance(HOLD / 1_000_000)
        done = maintain_in_turn(lake, EVERY)
        assert done is not None
        assert done.expired == 1


def test_a_catalog_without_settings_cannot_hold_a_lease() -> None:
    class Plain:
        """A catalog from outside, which need not offer this."""

        def now(self) -> int:
            return 0

    plain: Any = Plain()
    outside: Catalog = plain
    with pytest.raises(ConfigurationError, match="hold a lease"):
        take_turn(outside, MICROS)


LEAVING = ("sqlite", "sqlalchemy", "postgres", "mariadb")


def garbage(lake: Lake) -> int:
    """How many contents are there that nothing refers to, after many were replaced."""
    for turn in range(3):
        lake.store_batch({"key": f"k{n}", "value": f"{turn} {n}"} for n in range(1000))
    lake["k1"] = "one"
    lake["k1"] = "another"
    with lake.transaction() as tx:
        tx.store("k2", "one more")
        tx.delete("k3")
    return lake.stats(exact=True).objects - lake.stats(exact=True).entries


@pytest.mark.parametrize("kind", LEAVING)
def test_what_writes_leave_with_upkeep_off(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = f"t{secrets.token_hex(6)}"
    spec: dict[str, Any] = {"type": kind, "url": str(tmp_path / "names.db")}
    if kind == "sqlalchemy":
        spec["url"] = f"sqlite:///{tmp_path}/names.db"
    elif kind == "postgres":
        spec |= {"url": request.getfixturevalue("postgres_18").url(), "schema": name}
    elif kind == "mariadb":
        spec["url"] = request.getfixturevalue("mariadb").url(name)
    with lakebed.open(catalog=spec, auto_maintain="off") as lake:
        assert garbage(lake) == 2004
        assert lake.collect(grace=0).objects == 2004
        assert lake["k1"] == "another"
        assert lake.verify().problems == []
    with lakebed.open(catalog=spec) as lake:
        left = garbage(lake)
        assert left < (1100 if kind == "postgres" else 1)  # a thousand that it tidies next time
