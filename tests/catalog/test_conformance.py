"""The conformance suite itself: it fails where it should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sharing import made_once

SUITE = """
from lakebed.lake.lake import Lake
from lakebed.testing import CatalogConformance, open_lake

class File(CatalogConformance):
    def open_lake(self, folder, clock, **settings):
        lake = open_lake(folder / "lake", clock=clock, **settings)
        self.damage(lake, lake._catalog)
        return lake
    def damage(self, lake, catalog):
        pass

class TestDeclared(CatalogConformance):
    gaps = {"reopening": "it forgets"}
    def open_lake(self, folder, clock, **settings):
        return open_lake(clock=clock, **settings)

class TestUndeclared(TestDeclared):
    gaps = {}

class TestClosed(File):
    gaps = {"reopening": "not so"}

class TestUnknown(File):
    gaps = {"flying": "no wings"}

class TestLate(File):
    "Entries are visible for a microsecond more."
    def damage(self, lake, catalog):
        now = catalog._executor.now
        catalog._executor.now = lambda: now() - 1

class TestOrder(File):
    "Keys are in the order of UTF-16."
    def damage(self, lake, catalog):
        class Disordered(Lake):
            def __iter__(self):
                keys = [entry.key for entry in self.list()]
                return iter(sorted(keys, key=lambda key: key.encode("utf-16-be")))
        lake.__class__ = Disordered

class TestHalf(File):
    "A transaction commits each change by itself."
    def damage(self, lake, catalog):
        commit = catalog.commit
        catalog.commit = lambda changes, uploads=(): [
            outcome for change in changes for outcome in commit([change], uploads)]

class TestNarrow(File):
    "The metadata index claims to have entries that it lacks."
    def damage(self, lake, catalog):
        catalog._queries["waiting_metadata"] = 'SELECT 0 AS "version" LIMIT 0 * :cap'
"""

EXPECTED = {
    "TestDeclared::test_two_at_once": "XFAIL",
    "TestDeclared::test_gaps_are_features": "PASSED",
    "TestUndeclared::test_two_at_once": "FAILED",
    "TestClosed::test_two_at_once": "FAILED",
    "TestUnknown::test_gaps_are_features": "FAILED",
    "TestLate::test_visible_until_the_very_moment": "FAILED",
    "TestLate::test_order": "PASSED",
    "TestOrder::test_order": "FAILED",
    "TestHalf::test_a_failed_condition_stores_nothing[0]": "PASSED",
    "TestHalf::test_a_failed_condition_stores_nothing[2]": "FAILED",
    "TestNarrow::test_changes_after_the_index_was_filled": "FAILED",
    "TestNarrow::test_order": "PASSED",
}


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> str:
    def run(folder: Path) -> None:
        (folder / "test_it.py").write_text(SUITE)
        tests = [f"test_it.py::{name}" for name in EXPECTED]
        command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # loading takes longer
        with (folder / "said").open("wb") as said:
            subprocess.run(command, cwd=folder, env=environment, stdout=said, check=False)

    return (made_once(tmp_path_factory, "conformance", run) / "said").read_text("utf-8")


@pytest.mark.parametrize("name", EXPECTED)
def test_outcome(ran: str, name: str) -> None:
    found = re.findall(rf"^(\w+) test_it\.py::{re.escape(name)}(?: - .*)?$", ran, re.MULTILINE)
    assert found == [EXPECTED[name]], ran


def test_a_closed_gap_says_its_reason(ran: str) -> None:
    assert "[XPASS(strict)] not so" in ran
