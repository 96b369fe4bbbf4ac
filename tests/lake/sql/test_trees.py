"""What is read of the tree of a query means the same whichever DuckDB made it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from lakebed.duckdb.conditions import Bounds, bounds, columns_read, row_limit
from lakebed.duckdb.statement import Call, constant, parse
from lakebed.duckdb.trees import nodes, read_tree
from lakebed.errors import QueryError
from lakebed.lake.sql.wanted import named

LITERALS = [
    "NULL", "7", "007", "1_000", "1_0_0", "-3", "- 3", "- -3", "(5)", "2147483648",
    "9223372036854775807", "-9223372036854775808", "'a'", "''", "''''", "'a''b'", "('a')", "'a\nb'",
    "'\\n'", "$$a'b$$", "$t$a$t$", r"E'a\nb'", r"E'\x41\101\'q'", "E'a'\n 'b'", "'é€😀'", "'5'",
]  # fmt: skip
NO_CONSTANTS = [
    "9223372036854775808", "-9223372036854775809", "9" * 41, "9" * 5000, "1.", ".5", "1.0", "1e3",
    "1e400", "true", "x'41'", "'1'::INTEGER", "INTEGER '5'", "+5", "DATE '2020-01-01'",
    "'a' || 'b'", "[1]", "{'a': 1}", "lower('A')",
]  # fmt: skip


@pytest.fixture(scope="module")
def judge() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        yield connection


def argument(judge: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """The node of what a function is called with."""
    tree = read_tree(judge, f"SELECT called({text})")
    (call,) = (node for node in nodes(tree) if node.get("function_name") == "called")
    (node,) = call["children"]
    assert isinstance(node, dict)
    return node


@pytest.mark.parametrize("text", LITERALS)
def test_constants_have_the_values_that_duckdb_gives_them(
    judge: duckdb.DuckDBPyConnection, text: str
) -> None:
    row = judge.execute(f"SELECT {text}").fetchone()
    assert row is not None
    known, value = constant(argument(judge, text), None)
    assert known
    assert (type(value), value) == (type(row[0]), row[0])


@pytest.mark.parametrize("text", NO_CONSTANTS)
def test_what_is_no_plain_constant(judge: duckdb.DuckDBPyConnection, text: str) -> None:
    try:
        known, value = constant(argument(judge, text), None)
    except QueryError:
        return
    # Before 2, DuckDB reads x'41' as the text "x41".
    assert not known or (text, value) == ("x'41'", "x41")


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("SELECT key FROM entries LIMIT 5", 5),
        ("SELECT key FROM entries ORDER BY key LIMIT 5 OFFSET 1_0", 15),
        ("SELECT key FROM entries LIMIT 5%", None),
        ("SELECT key FROM entries LIMIT 5 PERCENT", None),
        ("SELECT key FROM entries LIMIT ALL", None),
        ("SELECT key FROM entries LIMIT 5.0", None),
        ("SELECT DISTINCT key FROM entries LIMIT 5", None),
        ("SELECT max(key) FROM entries LIMIT 5", None),
    ],
)
def test_limits(judge: duckdb.DuckDBPyConnection, query: str, limit: int | None) -> None:
    statement = parse(judge, query, None, frozenset({"entries"}), frozenset())
    assert row_limit(statement, named("entries"), None) == limit


def test_conditions_columns_and_calls(judge: duckdb.DuckDBPyConnection) -> None:
    statement = parse(
        judge,
        "SELECT version FROM entries e, entries_at('s', NULL), entries_at(1_000, ?) "
        "WHERE e.key >= 'b' AND e.key IN ('c', ?) AND (e.metadata->>'$.kind') = 'note'",
        ["d", "e"],
        frozenset({"entries"}),
        frozenset({"entries_at"}),
    )
    assert statement.tables == {"entries"}
    assert statement.calls == {Call("entries_at", ("s", None)), Call("entries_at", (1000, "d"))}
    found = bounds(statement, named("entries"), ["d", "e"])
    assert found == Bounds("c", "e\x01", (("kind", "note"),))
    assert columns_read(statement, named("entries")) == {"version", "e", "key", "metadata"}


@pytest.mark.parametrize(
    "node",
    [
        {"type": "INSERT_QUERY_NODE"},
        {"type": "SELECT_NODE"},
        {"type": "FILE_REF", "path": "x"},
        {"type": "COPY_INFO_X", "class": "NEW"},
        {"info_type": "COPY_INFO"},
        {"class": "CONSTANT", "type": "VALUE_CONSTANT"},
        {"class": "CONSTANT", "type": "VALUE_CONSTANT", "literal": {"sort": "STRING"}},
        {"class": "FUNCTION", "type": "FUNCTION", "arguments": [{"value": 1}]},
    ],
)
def test_trees_of_a_duckdb_that_is_not_known(
    judge: duckdb.DuckDBPyConnection, node: dict[str, object]
) -> None:
    class Other:
        """Another parser, which makes this node of everything."""

        def execute(self, query: str, params: list[str]) -> duckdb.DuckDBPyConnection:
            del query, params
            answer = json.dumps({"error": False, "statements": [{"node": node}]})
            return judge.execute("SELECT ?", [answer])

    with pytest.raises(QueryError, match="cannot be checked"):
        read_tree(Other(), "SELECT 1")  # type: ignore[arg-type]
