"""What a query says, as DuckDB's own parser reads it, and whether it may say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import duckdb
import orjson

from lakebed.errors import QueryError

Node = Mapping[str, Any]
"""A node of DuckDB's syntax tree, as `json_serialize_sql` gives it."""

FUNCTIONS = frozenset(
    {
        "generate_series", "range", "repeat", "unnest", "json_each", "json_tree",
        "icu_calendar_names", "pg_timezone_names", "duckdb_columns", "duckdb_functions",
        "duckdb_keywords", "duckdb_tables", "duckdb_types", "duckdb_views", "pragma_table_info",
        "pragma_version",
    }
)  # fmt: skip
"""Table functions that a query may call: others read files, run SQL text, take raw pointers, or
change the session (`enable_logging` makes every later query of it fail)."""

_EXPLAIN = re.compile(
    r"\A(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*EXPLAIN(?:\s+ANALYZE\b)?"
    r"(?:\s*\((?!\s*(?:SELECT|FROM|WITH|VALUES|TABLE)\b)[^)]*\))?",
    re.IGNORECASE | re.DOTALL,
)
_DENIED = "with external_access=True it may do more"


class Call(NamedTuple):
    """A table function of the lake in a query, with its arguments: constants and parameters."""

    name: str
    arguments: tuple[object, ...]


class Statement(NamedTuple):
    """A query that may run: its text, its syntax tree, and what of the lake it names."""

    text: str
    tree: Node
    tables: frozenset[str]
    calls: frozenset[Call]


def parse(
    connection: duckdb.DuckDBPyConnection,
    text: str,
    params: object,
    tables: frozenset[str],
    calls: frozenset[str],
) -> Statement:
    """The query, if it is one SELECT, or EXPLAIN of one, that names no file and no table function
    that could do harm. `tables` and `calls` are the names that the lake has.

    QueryError says what is not allowed, or where the syntax is wrong.
    """
    if not isinstance(text, str):
        raise QueryError(f"query is of type {type(text).__name__}: expected SQL text")
    try:
        found = connection.extract_statements(text)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    if len(found) != 1:
        raise QueryError(
            f"the query is {len(found)} statements: expected one SELECT or EXPLAIN"
            + (" (write PIVOT … ON column IN (…))" if _is_pivot(text) else "")
        )
    kind = found[0].type
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise QueryError(
            f"the query is a statement of the kind {kind.name}: expected one SELECT or EXPLAIN; "
            + _DENIED
        )
    select = found[0].query if kind == duckdb.StatementType.SELECT else _EXPLAIN.sub("", text)
    tree = read_tree(connection, select)
    if kind == duckdb.StatementType.SELECT:
        text = select  # PRAGMA becomes one
    return _judged(text, tree, params, tables, calls)


def unjudged(text: str, tables: frozenset[str], calls: frozenset[str]) -> Statement:
    """Any statement, with the tables of the lake whose names occur in its text."""
    words = set(re.findall(r"[a-z_]+", text.lower()))
    if found := words & calls:
        raise QueryError(f"{min(found)}(…) is not there with external_access")
    return Statement(text, {}, tables & words, frozenset())


def read_tree(connection: duckdb.DuckDBPyConnection, select: str) -> Node:
    """The syntax tree of a SELECT."""
    ((answer,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [select]).fetchall()
    tree: Node = orjson.loads(answer)
    if tree["error"] or len(tree["statements"]) != 1:
        raise QueryError(
            f"the query cannot be looked through: {tree.get('error_message', 'no single SELECT')}"
        )
    return tree


def nodes(tree: object) -> Iterator[Node]:
    """All nodes below and including one."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def constant(node: Node, params: object) -> tuple[bool, object]:
    """Whether a node is a constant or a parameter whose value is known, and the value."""
    if node.get("class") == "CONSTANT":
        value = node["value"]
        return True, None if value["is_null"] else value["value"]
    if node.get("class") == "PARAMETER":
        name = node["identifier"]
        if isinstance(params, Mapping):
            return name in params, params.get(name)
        if isinstance(params, (list, tuple)) and str(name).isdigit():
            place = int(name) - 1
            return 0 <= place < len(params), params[place] if place < len(params) else None
    return False, None


def _judged(
    text: str, tree: Node, params: object, tables: frozenset[str], calls: frozenset[str]
) -> Statement:
    named, called = set[str](), set[Call]()
    local = {
        str(item["key"]).lower()
        for node in nodes(tree)
        if isinstance(node.get("cte_map"), dict)
        for item in node["cte_map"].get("map", ())
    }
    for node in nodes(tree):
        kind = node.get("type")
        if kind == "BASE_TABLE":
            name = str(node["table_name"]).lower()
            if name in tables and name not in local:
                named.add(name)
            elif name in tables:
                raise QueryError(f"the query gives the name {name!r} to a WITH: choose another")
            elif name not in local and not _is_catalog(node):
                raise QueryError(
                    f"no table {node['table_name']!r}: a query reads "
                    f"{', '.join(sorted(tables | {f'{call}(…)' for call in calls}))}"
                )
        elif kind == "TABLE_FUNCTION":
            function = node["function"]
            name = str(function["function_name"]).lower()
            if name in calls:
                called.add(Call(name, _arguments(name, function["children"], params)))
            elif name not in FUNCTIONS:
                raise QueryError(f"the table function {name} is not allowed in a query; {_DENIED}")
    return Statement(text, tree, frozenset(named), frozenset(called))


def _arguments(name: str, children: list[Node], params: object) -> tuple[object, ...]:
    values = []
    for child in children:
        known, value = constant(child, params)
        if not known:
            raise QueryError(f"{name}: expected a text, a number or a parameter of the query")
        values.append(value)
    return tuple(values)


def _is_catalog(node: Node) -> bool:
    """Whether a table is one of DuckDB's own, such as information_schema.tables."""
    return str(node["schema_name"]).lower() in ("information_schema", "pg_catalog")


def _is_pivot(text: str) -> bool:
    return re.search(r"\bPIVOT", text, re.IGNORECASE) is not None
