"""A pooled connection of SQLAlchemy, used through the driver's own cursors.

SQLAlchemy makes the connections and keeps the pool. Statements go directly to the driver, because
SQLAlchemy's `Connection` adds 25 µs to each (docs/design/sqlalchemy.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from lakebed.catalog.statements.executor import Params, Row
from lakebed.catalog.statements.writer import Writer

if TYPE_CHECKING:
    from sqlalchemy import PoolProxiedConnection
    from sqlalchemy.engine.interfaces import DBAPICursor

Style = Literal["named", "qmark", "pyformat", "mysql"]
"""How a driver writes parameters. "mysql" also writes names in backticks."""

_PARAMETER = re.compile(r"(?<!:):([a-z]\w*)")
_NAME = re.compile(r'"(\w+)"')
_INSERT = re.compile(r"(INSERT .*\bVALUES\s*)(\(\?(?:, \?)*\))([^?]*)", re.DOTALL)
_ROWS_AT_ONCE = 1000
_ROWS_TOGETHER = 300


class Lent:
    """A connection of the pool while one call uses it.

    `log`, if given, gets every statement. `together`: the driver sends rows one by one, so an
    INSERT gets many rows at once.
    """

    __slots__ = ("_log", "_style", "_together", "cursor", "proxied")

    def __init__(
        self,
        proxied: PoolProxiedConnection,
        style: Style,
        log: Callable[[str], None] | None,
        *,
        together: bool = False,
    ) -> None:
        self.proxied = proxied
        self.cursor: DBAPICursor = proxied.cursor()
        self._style = style
        self._log = log
        self._together = together

    @property
    def writer(self) -> Writer:
        """The writer of this connection, which it keeps as long as it lives."""
        found: Writer | None = self.proxied.info.get("writer")
        if found is None:
            found = self.proxied.info["writer"] = Writer()
        return found

    def drop(self) -> None:
        """Close the connection, so that no other call uses it."""
        if self.proxied.is_valid:
            self.proxied.invalidate()

    def execute(self, sql: str, params: Params, cursor: DBAPICursor | None = None) -> DBAPICursor:
        """Run a statement with `:name` parameters, and return its cursor.

        The cursor is valid until the next statement, unless the caller gives one of its own.
        """
        cursor = cursor or self.cursor
        if not params:  # without parameters, the driver takes the text as it is
            self._run(quote(sql, self._style), cursor)
            return cursor
        text, names = convert(sql, self._style)
        if self._log:
            self._log(text)
        cursor.execute(text, params if names is None else [params[name] for name in names])
        return cursor

    def run(self, statements: Iterable[str]) -> None:
        """Run statements without parameters."""
        for statement in statements:
            self._run(quote(statement, self._style), self.cursor)

    def _run(self, text: str, cursor: DBAPICursor) -> None:
        if self._log:
            self._log(text)
        cursor.execute(text)

    def execute_many(self, sql: str, rows: Iterable[Params]) -> None:
        """Run a statement once for each set of parameters."""
        text, names = convert(sql, self._style)
        if names is None:
            self._run_many(text, rows)
        else:
            self._run_many(text, ([row[name] for name in names] for row in rows))

    def insert_rows(self, table: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
        """Insert rows. Their values are in the order of `columns`."""
        mark = "?" if self._style in ("named", "qmark") else "%s"
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join([mark] * len(columns))
        sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - names of ours
        self._run_many(quote(sql, self._style), rows)

    def _run_many(self, text: str, rows: Iterable[Any]) -> None:
        if self._log:
            self._log(text)
        found, parts = iter(rows), _INSERT.fullmatch(text) if self._together else None
        while chunk := list(islice(found, _ROWS_TOGETHER if parts else _ROWS_AT_ONCE)):
            if parts is None:
                self.cursor.executemany(text, chunk)
                continue
            head, marks, tail = parts.groups()
            together = f"{head}{', '.join([marks] * len(chunk))}{tail}"
            self.cursor.execute(together, [value for row in chunk for value in row])


def quote(sql: str, style: Style) -> str:
    """Return the text with names quoted as the database quotes them."""
    return _NAME.sub(r"`\1`", sql) if style == "mysql" else sql


@lru_cache(maxsize=1024)
def convert(sql: str, style: Style) -> tuple[str, tuple[str, ...] | None]:
    """Return the text with the driver's parameters in place of `:name`.

    Also returns the order of the names, if parameters go by position.
    """
    if style == "named":
        return sql, None
    sql = quote(sql, style)
    if style in ("pyformat", "mysql"):
        return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%")), None
    return _PARAMETER.sub("?", sql), tuple(_PARAMETER.findall(sql))
