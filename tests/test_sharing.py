"""What a run makes once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sharing import made_once


def _nothing(_: Path) -> None:
    pass


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.TempPathFactory:
    """The folders of a worker; each worker has its own beside the others."""
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    made = pytest.TempPathFactory(tmp_path / "gw0", 3, "all", lambda *_: None, _ispytest=True)
    made.getbasetemp()
    return made


def test_who_comes_later_waits_for_what_is_made(factory: pytest.TempPathFactory) -> None:
    def make(folder: Path) -> None:
        (folder / "begun").write_text("")
        time.sleep(0.05)  # others come meanwhile
        (folder / "begun").rename(folder / "done")

    def ask(_: int) -> list[str]:
        return [path.name for path in made_once(factory, "x", make).iterdir()]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [["done"]] * 4


def test_workers_share_it(factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    assert made_once(factory, "x", _nothing) == tmp_path / "shared-x"


def test_what_failed_is_made_anew(factory: pytest.TempPathFactory) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        made_once(factory, "x", fail)
    assert not list(made_once(factory, "x", _nothing).iterdir())
