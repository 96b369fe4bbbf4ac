"""The address of a Postgres server, and how to connect to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lakebed.catalog.postgres.errors import explain
from lakebed.catalog.statements.hiding import Hiding, Mask
from lakebed.errors import ConfigurationError, DependencyMissingError, LakebedError

if TYPE_CHECKING:
    import psycopg


class Server:
    """A database on a server. `conninfo` is a URL or libpq's `host=… dbname=…`.

    `timeout`: seconds that a call may wait for a connection. `login`: gives the `user` and
    `password` of each new connection. `pooled`: the server is behind PgBouncer in transaction mode.
    `mask`: hides secrets in a text.
    """

    def __init__(
        self,
        conninfo: str,
        timeout: float,
        *,
        login: Callable[[], Mapping[str, str]] | None = None,
        pooled: bool = False,
        mask: Mask = str,
    ) -> None:
        self.conninfo = conninfo
        self.login = login
        self._timeout = timeout
        self._pooled = pooled
        self._mask = mask

    @cached_property
    def _address(self) -> tuple[str, str, str]:
        from psycopg.conninfo import conninfo_to_dict

        known = conninfo_to_dict(self.conninfo)
        parts = {"host": "localhost", "port": 5432, "dbname": ""} | known
        return str(parts["host"]), str(parts["port"]), str(parts["dbname"])

    @cached_property
    def shown(self) -> str:
        """The server and the database, without credentials and other secrets."""
        host, port, database = map(self._mask, self._address)
        return f"postgresql://{host}:{port}/{database}"

    @cached_property
    def hiding(self) -> Hiding:
        """Hides secrets in the server's errors."""
        return Hiding(self._mask, self._address[0])

    def explain(self, error: Exception) -> LakebedError:
        """Return the error of `lakebed.errors` for an error of psycopg."""
        return self.hiding.explained(error, lambda error: explain(error, self.shown))

    def options(self) -> dict[str, Any]:
        """Return additional options for libpq, so that no wait is without a limit."""
        from psycopg.conninfo import conninfo_to_dict

        wanted: dict[str, Any] = {
            "application_name": "lakebed",
            "connect_timeout": max(2, int(min(self._timeout, 10))),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }
        given = conninfo_to_dict(self.conninfo)
        options = {name: value for name, value in wanted.items() if name not in given}
        login = self.login() if self.login else {}
        return {"client_encoding": "utf8", **options, **login}

    def arguments(self) -> dict[str, Any]:
        """Return additional arguments for psycopg: libpq's options, and its own."""
        prepare = {"prepare_threshold": None} if self._pooled else {}
        return {"autocommit": True, **self.options(), **prepare}

    def probe(self) -> None:
        """Connect once, without the pool, which would hide the reason of a failure.

        Raises the error for the server's answer, and ConfigurationError if the database is not in
        UTF8.
        """
        import psycopg

        try:
            with psycopg.connect(self.conninfo, **self.arguments()) as connection:
                check_encoding(connection, self.shown)
        except psycopg.Error as error:
            # Not repeated: at the first connection, a mistake is more likely than an outage.
            raise self.explain(error) from None

    def refusal(self) -> LakebedError | None:
        """Connect once more. Return the error, or None if it succeeds."""
        import psycopg

        try:
            psycopg.connect(self.conninfo, **self.arguments()).close()
        except psycopg.Error as error:
            return self.explain(error)
        except LakebedError as error:  # raised by the login
            return error
        return None


def check_encoding(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], shown: str
) -> None:
    """Raise ConfigurationError if a database is not in UTF8."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"{shown} has the encoding {encoding}: a lake needs a database in UTF8: "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


def require_driver() -> None:
    """Raise DependencyMissingError if psycopg is not installed."""
    try:
        import psycopg
        import psycopg_pool
    except ImportError as error:
        raise DependencyMissingError(
            "a Postgres catalog needs the psycopg package: pip install 'lakebed[postgres]'"
        ) from error
    del psycopg, psycopg_pool
