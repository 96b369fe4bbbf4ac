"""The recipes for outside catalogs pass the conformance suite, as they stand in the guides."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Set
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import Any, ClassVar
from unittest.mock import patch

import pytest

from lakebed.catalog import registry
from lakebed.catalog.capabilities import CAPABILITIES, Capability
from lakebed.catalog.opened import OpenedCatalog
from lakebed.catalog.pairs.catalog import PairCatalog
from lakebed.catalog.pairs.records import Overlay, Pairs
from lakebed.catalog.statements.dialect import PORTABLE, Dialect
from lakebed.clock import Clock, system_clock
from lakebed.errors import CatalogError, ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.testing import FakeClock, open_lake
from lakebed.testing.conformance.appending import Appending
from lakebed.testing.conformance.batches import RetrievingBatches
from lakebed.testing.conformance.capabilities import Capabilities
from lakebed.testing.conformance.listing import Listing
from lakebed.testing.conformance.storing import Storing
from lakebed.testing.conformance.taking import Taking
from lakebed.testing.conformance.transactions import Transactions
from lakebed.testing.conformance.upkeep import Verifying

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
SHOWN = re.compile(r"^with lakebed\.open\(.*?\n(?=\S|\Z)", re.DOTALL | re.MULTILINE)


def of_language(page: Path, language: str) -> str:
    """The blocks of a page in a language, but those that are marked as not run."""
    fence = rf"(^<!-- not run:[^\n]*\n\n)?^```{language}\n(.*?)^```$"
    found = re.findall(fence, page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return "\n".join(code for marked, code in found if not marked)


def defined(page: Path) -> dict[str, Any]:
    """What the Python of a page defines: all but the lake that it opens to show off is run."""
    namespace: dict[str, Any] = {"__name__": __name__}
    text, found = SHOWN.subn("", of_language(page, "python"))
    assert found == 1
    # It registers itself, which other tests of this process must not see.
    with patch.dict(registry._openers), patch.dict(registry._schemes), chdir(folder.name):
        subprocess.run(["sh", "-ec", of_language(page, "shell")], check=True)
        exec(compile(text, page, "exec"), namespace)  # noqa: S102 - it is our own page
    return namespace


folder = TemporaryDirectory()  # removed when the process ends
namespace = defined(GUIDES / "outside-catalog.md")
TestApsw = namespace["TestApsw"]
TestDuckDBDialect = namespace["TestDuckDBDialect"]
WITHOUT_SQL = defined(GUIDES / "catalog-without-sql.md")
TestJournal = WITHOUT_SQL["TestJournal"]


def test_queries_of_a_dialect_replace_shared_ones(tmp_path: Path) -> None:
    queries, shared = namespace["DUCKDB"].queries(), Dialect("x", base=PORTABLE, folder=tmp_path)
    assert queries == shared.queries() | {"array": "SELECT unnest(:array)"}


def test_a_dialect_takes_from_its_base_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0002_mine.sql").write_text("CREATE TABLE {entry} (n {integer});")
    mine = Dialect("mine", base=PORTABLE, folder=tmp_path, prefix="my_", integer="INT8",
                   rewrites=[(r"CREATE TABLE", "CREATE ROW TABLE")])  # fmt: skip
    assert mine.migration(None, 2) == "CREATE ROW TABLE my_entry (n INT8);"
    schema = mine.script(None, "schema.sql")
    assert schema is not None
    assert schema.startswith((PORTABLE.script(None, "schema.sql") or "")[:80])
    assert "CREATE ROW TABLE my_entry (" in schema
    assert mine.script(None, "functions.sql") is None


def test_a_dialect_whose_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the dialect mine: there is no folder .*nowhere"):
        Dialect("mine", folder=tmp_path / "nowhere")


def test_a_catalog_without_sql_is_short() -> None:
    lines = of_language(GUIDES / "catalog-without-sql.md", "python").splitlines()
    assert len(lines) < 150


class Names(PairCatalog):
    """A catalog that can do nothing more than it must: it forgets all at the end."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._lock = clock, RLock()
        self._pairs = WITHOUT_SQL["SortedPairs"]()
        self._closed = False

    def now(self) -> int:
        return self._clock()

    def read(self, work: Callable[[Pairs], Any]) -> Any:
        with self._lock:
            self._check()
            return work(self._pairs)

    def transact(self, work: Callable[[Pairs], Any]) -> Any:
        with self._lock:
            self._check()
            changed = Overlay(self._pairs)
            result = work(changed)
            self._pairs.apply(changed.changes)
            return result

    def _check(self) -> None:
        if self._closed:
            raise CatalogError("the lake is closed")

    def close(self) -> None:
        self._closed = True


class TestNames(
    Capabilities, Storing, Transactions, Taking, Appending, Listing, RetrievingBatches, Verifying
):
    lacks: ClassVar[Set[Capability]] = CAPABILITIES

    def open_lake(self, folder: Path, clock: FakeClock, **settings: Any) -> Lake:
        settings.pop("lock_timeout", None)
        opened = OpenedCatalog(Names(clock), "names", persistent=False)
        return open_lake(folder, catalog=opened, **settings)


def test_a_line_that_was_broken_off(tmp_path: Path) -> None:
    """A writer that is killed in the middle of a line has written nothing."""
    journal = tmp_path / "journal"

    def opened() -> Lake:
        catalog = WITHOUT_SQL["JournalCatalog"](journal, system_clock, 60.0)
        return open_lake(tmp_path, catalog=OpenedCatalog(catalog, "journal", persistent=True))

    with opened() as lake:
        lake.store("a", 1)
        whole = journal.read_bytes()
        lake.store("b", "lost")
        line = journal.read_bytes()[len(whole) :]
    for length in range(len(line)):
        journal.write_bytes(whole + line[:length])
        with opened() as lake:
            assert dict(lake) == {"a": 1}
    with opened() as lake:
        lake.store("c", 3)
    with opened() as lake:
        assert dict(lake) == {"a": 1, "c": 3}
