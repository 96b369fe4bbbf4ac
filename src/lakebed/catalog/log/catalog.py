"""The catalog over a shared log."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.catalog.log.executor import LogExecutor
from lakebed.catalog.log.log import Log
from lakebed.catalog.sqlite.catalog import SQLiteCatalog


class LogCatalog(SQLiteCatalog):
    """SQLite's catalog over a log."""

    _executor: LogExecutor

    @property
    def log(self) -> Log:
        """The log. The first use opens its store."""
        return self._executor.copy.log

    def settings(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        with self._executor.opening():
            return super().settings(wanted)
