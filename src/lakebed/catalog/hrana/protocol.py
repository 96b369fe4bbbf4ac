"""Hrana over HTTP: statements and values as JSON, and pipelines on a stream.

The protocol's text: https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_3_SPEC.md
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from lakebed.catalog.statements.executor import Row
from lakebed.errors import CatalogError

GUESS = "guess"  # not a JSON path, so a statement that finds a wrong guess fails with it

_PARTS = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|:([A-Za-z_]\w*)")


class Statement(NamedTuple):
    """A statement with its parameters, by name or by position."""

    sql: str
    params: Mapping[str, object] | Sequence[object] = ()

    def encoded(self) -> dict[str, Any]:
        """Return the statement in the form of the protocol.

        Parameters that the text does not name are left out, because the server would refuse them.
        """
        if isinstance(self.params, Mapping):
            named = [
                {"name": name, "value": encode(self.params[name])} for name in names_of(self.sql)
            ]
            return {"sql": self.sql, "named_args": named, "want_rows": True}
        return {"sql": self.sql, "args": list(map(encode, self.params)), "want_rows": True}


class Result(NamedTuple):
    """The result of a statement. `last_id` is the id of the row that was inserted last."""

    rows: list[Row]
    changed: int
    last_id: int | None


class Refusal(Exception):
    """The server's error for a statement or a stream, with its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@lru_cache(maxsize=1024)
def names_of(sql: str) -> tuple[str, ...]:
    """Return the parameters that a statement names, each once."""
    return tuple(dict.fromkeys(name for name in _PARTS.findall(sql) if name))


def encode(value: object) -> dict[str, Any]:
    """Return a value in the form of the protocol."""
    if value is None:
        return {"type": "null"}
    if isinstance(value, int):
        return {"type": "integer", "value": str(int(value))}
    if isinstance(value, str):
        return {"type": "text", "value": value}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"type": "blob", "base64": base64.b64encode(value).decode()}
    if isinstance(value, float) and math.isfinite(value):
        return {"type": "float", "value": value}
    raise CatalogError(f"a parameter of type {type(value).__name__} cannot be sent")


def decode(value: Mapping[str, Any]) -> object:
    """Return a value that is in the form of the protocol."""
    kind = value["type"]
    if kind == "null":
        return None
    if kind == "integer":
        return int(value["value"])
    if kind == "blob":
        text: str = value["base64"]  # the server leaves out the padding
        return base64.b64decode(text + "=" * (-len(text) % 4))
    return value["value"]


def result_of(said: Mapping[str, Any]) -> Result:
    """Return the result of a statement."""
    rows = [tuple(map(decode, row)) for row in said["rows"]]
    last = said.get("last_insert_rowid")
    return Result(rows, int(said["affected_row_count"]), None if last is None else int(last))


def refusal_of(said: Mapping[str, Any]) -> Refusal:
    """Return the error in an answer."""
    return Refusal(str(said.get("code") or ""), str(said.get("message") or "no reason given"))


def batch_of(statements: Sequence[Statement]) -> dict[str, Any]:
    """Return a request for statements, each of which runs only if the one before succeeded."""
    steps = [
        {"stmt": statement.encoded()}
        | ({"condition": {"type": "ok", "step": number - 1}} if number else {})
        for number, statement in enumerate(statements)
    ]
    return {"type": "batch", "batch": {"steps": steps}}


def results_of(said: Mapping[str, Any]) -> list[Result]:
    """Return the results of such a batch. Raises the Refusal of the statement that failed."""
    for error in said["step_errors"]:
        if error is not None:
            raise refusal_of(error)
    return [result_of(result) for result in said["step_results"]]
