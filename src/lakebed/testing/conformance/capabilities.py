"""Catalogs that declare that they lack capabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from lakebed.catalog.capabilities import Capability, capabilities_of
from lakebed.errors import CatalogError, ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.testing.conformance.base import Conformance, OpenLake

CALLS: list[tuple[Capability, str, Callable[[Lake], object]]] = [
    ("versions", "no earlier versions", lambda lake: lake.create_snapshot("s")),
    ("versions", "no earlier versions", lambda lake: lake.history("key")),
    ("versions", "no earlier versions", lambda lake: lake.changes()),
    ("collection", "cannot collect", lambda lake: lake.collect()),
    ("collection", "cannot collect", lambda lake: lake.collect(dry_run=True)),
    ("compaction", "cannot compact", lambda lake: lake.compact()),
    ("purge", "cannot purge", lambda lake: lake.purge("key")),
    ("purge", "cannot purge", lambda lake: lake.purge("key", dry_run=True)),
    ("scan", "no tables for SQL", lambda lake: lake.sql("FROM entries").fetchall()),
    ("scan", "no tables for SQL", lambda lake: lake.sql("FROM documents").fetchall()),
]


class Capabilities(Conformance):
    """A call that needs what the catalog lacks raises CatalogError, and changes nothing."""

    FEATURE: ClassVar[str] = "capabilities"

    def test_the_suite_knows_what_is_lacking(self, lake: Lake) -> None:
        lacking = {each for each, _, _ in CALLS} - capabilities_of(lake._catalog)
        assert lacking == self.lacks

    @pytest.mark.parametrize(("capability", "words", "call"), CALLS)
    def test_calls(
        self, lake: Lake, capability: Capability, words: str, call: Callable[[Lake], object]
    ) -> None:
        lake.store("key", "value")
        if capability in self.lacks:
            with pytest.raises(CatalogError, match=words):
                call(lake)
            assert dict(lake) == {"key": "value"}
        else:
            call(lake)

    def test_maintenance_leaves_it_out(self, lake: Lake) -> None:
        lake.store("key", "value")
        assert lake.maintain().finished
        assert dict(lake) == {"key": "value"}
        assert not lake.verify().problems

    def test_all_history_needs_versions(self, opening: OpenLake) -> None:
        if "versions" in self.lacks:
            with pytest.raises(ConfigurationError, match="history='all'"):
                opening(history="all")
        else:
            opening(history="all").store("key", 1)
