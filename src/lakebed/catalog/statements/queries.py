"""Named queries beside those of a dialect, and lists of values in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lakebed.catalog.statements.dialect import parse, read_text, sql_folder

if TYPE_CHECKING:
    from lakebed.catalog.statements.executor import Transaction

_IN_CHUNK = 500  # parameters in one IN list: every database takes as many
_ARRAY_CHUNK = 10_000
_ARRAY_TYPES = {str: "text", bytes: "bytea", int: "bigint"}


def load_spool_queries() -> dict[str, str]:
    """The queries of the spool."""
    return parse(read_text(sql_folder(), "spool.sql") or "")


def load_log_queries() -> dict[str, str]:
    """The queries about the bases of a shared log."""
    return parse(read_text(sql_folder(), "log.sql") or "")


def in_lists(
    queries: Mapping[str, str], values: Sequence[object]
) -> Iterator[tuple[str, dict[str, object]]]:
    """What stands in IN lists that hold all values, a bounded number in each, and its parameters.

    Where the dialect has arrays one parameter takes them all.
    """
    if "array" in queries:
        for start in range(0, len(values), _ARRAY_CHUNK):
            array = list(values[start : start + _ARRAY_CHUNK])
            kind = _ARRAY_TYPES[type(array[0])]
            yield queries["array"].replace("{type}", kind), {"array": array}
        return
    if "json_array" in queries and len(values) > 1 and not isinstance(values[0], bytes):
        import orjson  # not for a first store

        for start in range(0, len(values), _ARRAY_CHUNK):
            text = orjson.dumps(values[start : start + _ARRAY_CHUNK]).decode()
            yield queries["json_array"], {"array": text}
        return
    for start in range(0, len(values), _IN_CHUNK):
        params = {f"p{i}": value for i, value in enumerate(values[start : start + _IN_CHUNK])}
        yield ", ".join(f":{name}" for name in params), params


def run_for(
    tx: Transaction, queries: Mapping[str, str], name: str, values: Sequence[object]
) -> None:
    """Run a statement for all of these values: lists of them, or, where the dialect's statement
    takes one `:value`, one after another."""
    sql = queries[name]
    if ":value" in sql:
        tx.many(sql, [{"value": value} for value in values])
        return
    for names, params in in_lists(queries, values):
        tx.run(sql.replace("{values}", names), params)
