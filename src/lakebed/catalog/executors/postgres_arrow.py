"""Reading whole tables out of Postgres: binary COPY straight into Arrow, by ADBC.

Row by row through Python, a million entries take ten times a raw COPY; this way two to three times.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from lakebed.catalog.executors.base import Params
from lakebed.catalog.executors.postgres_server import Server
from lakebed.catalog.executors.postgres_transaction import PARAMETER
from lakebed.errors import ConnectError

if TYPE_CHECKING:
    import adbc_driver_manager
    import pyarrow as pa


def read_tables(
    server: Server, statements: Sequence[str], params: Params, limit: float
) -> list[pa.Table]:
    """The answer to each statement, all as of one moment, over a connection of its own.

    `limit`: seconds for one statement. Raises ConnectError if the server does not answer,
    CatalogError if it refuses.
    """
    import adbc_driver_manager

    conninfo = make_conninfo(server.conninfo, **server.options())
    answer: list[pa.Table] = []
    failures: list[Exception] = []
    texts = [_literal(text, params) for text in statements]

    def run() -> None:
        try:
            answer.extend(_read(conninfo, texts, limit))
        except Exception as error:  # noqa: BLE001 - raised by the caller's thread
            failures.append(error)

    # The library waits in C for ever where a proxy swallows the answer, so it waits by itself.
    thread = threading.Thread(target=run, name="lakebed-arrow", daemon=True)
    thread.start()
    thread.join((len(texts) + 1) * limit)
    if thread.is_alive():
        raise ConnectError(f"{server.shown} does not answer", "connection_timeout")
    if failures:
        if not isinstance(failures[0], adbc_driver_manager.Error):
            raise failures[0]
        error = _as_psycopg(failures[0])
        raise server.explain(error) from error
    return answer


def _as_psycopg(error: adbc_driver_manager.Error) -> psycopg.Error:
    """The same error as the other driver would raise it."""
    if error.sqlstate:
        return psycopg.errors.lookup(error.sqlstate)(str(error))
    return psycopg.OperationalError(str(error))


def _read(conninfo: str, statements: Sequence[str], limit: float) -> list[pa.Table]:
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(conninfo) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute(f"SET LOCAL statement_timeout = {int(limit * 1000)}")
        return [cursor.execute(text).fetch_arrow_table() for text in statements]


def join_objects(entries: pa.Table, objects: pa.Table) -> pa.Table:
    """The entries, in their order, with the columns of the objects that they refer to."""
    import pyarrow.compute as pc

    places = pc.index_in(entries["object_id"], value_set=objects["id"])
    found = objects.drop_columns("id").take(places)
    for name, column in zip(found.column_names, found.columns, strict=True):
        entries = entries.append_column(name, column)
    return entries.drop_columns("object_id")


def _literal(text: str, params: Mapping[str, object]) -> str:
    """The statement with its parameters as literals, since COPY takes none."""
    return PARAMETER.sub(lambda match: sql.Literal(params[match[1]]).as_string(), text)
