"""The server that keeps documents, and the meaning of its errors."""

from __future__ import annotations

from lakebed.catalog.postgres.server import Server
from lakebed.errors import CatalogError, LakebedError, ValidationError

_TOO_MUCH_TEXT = "54000"
_NO_TABLE = "42P01"


class DocumentServer(Server):
    """A database on a server, with the errors of documents."""

    def explain(self, error: Exception) -> LakebedError:
        state = getattr(error, "sqlstate", None)
        if state == _TOO_MUCH_TEXT and "tsvector" in str(error):
            return ValidationError(
                "data has too many different words for Postgres's text index (1 MiB)"
            )
        if state == _NO_TABLE:
            return CatalogError(f"the table of documents in {self.shown} no longer exists")
        return super().explain(error)
