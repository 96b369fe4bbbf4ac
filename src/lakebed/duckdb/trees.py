"""The syntax tree of a query, from DuckDB's own parser.

DuckDB 1.5 and 2 write trees differently. This module gives all trees the form of 1.5, so that other
code knows only one. Unknown nodes are refused, because they cannot be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import orjson

from lakebed.errors import QueryError

Node = Mapping[str, Any]
"""A node of a syntax tree, with the fields that DuckDB 1.5 gives it."""

_INFINITE = re.compile(r'("value":)-?(?:Infinity|NaN)\b')  # such as 1e400; it is not JSON
_WHOLE = re.compile(r"-?[0-9][0-9_]*")
_LARGEST = 2**63  # a greater number is not a BIGINT
_LONG = 100  # digits; a longer number is not a BIGINT and need not be parsed

_EXPRESSIONS = frozenset(
    {
        "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT",
        "DEFAULT", "FUNCTION", "LAMBDA", "LAMBDA_REF", "OPERATOR", "PARAMETER",
        "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW",
    }
)  # fmt: skip
_REQUIRED: Mapping[str, frozenset[str]] = {
    "SELECT_NODE": frozenset(
        {
            "modifiers", "cte_map", "select_list", "from_table", "where_clause",
            "group_expressions", "aggregate_handling", "having", "sample", "qualify",
        }
    ),
    "SET_OPERATION_NODE": frozenset({"modifiers", "cte_map"}),
    "RECURSIVE_CTE_NODE": frozenset({"modifiers", "cte_map", "cte_name", "left", "right"}),
    "BASE_TABLE": frozenset(
        {
            "alias", "sample", "schema_name", "table_name", "column_name_alias", "catalog_name",
            "at_clause",
        }
    ),
    "TABLE_FUNCTION": frozenset({"alias", "sample", "function", "column_name_alias"}),
    "JOIN": frozenset({"left", "right", "join_type", "ref_type", "using_columns"}),
    "SHOW_REF": frozenset({"query"}),
    "SUBQUERY": frozenset({"subquery"}),
    "EMPTY": frozenset(),
    "EXPRESSION_LIST": frozenset({"values"}),
    "PIVOT": frozenset({"source", "pivots"}),
    "ORDER_MODIFIER": frozenset({"orders"}),
    "ORDER_DEFAULT": frozenset({"expression"}),
    "ASCENDING": frozenset({"expression"}),
    "DESCENDING": frozenset({"expression"}),
    "DISTINCT_MODIFIER": frozenset(),
    "LIMIT_MODIFIER": frozenset({"limit", "offset"}),
    "LIMIT_PERCENT_MODIFIER": frozenset({"limit", "offset"}),
}  # fmt: skip
"""The known nodes that are not expressions, and the fields that are read from each. DuckDB 2 has
others that write, such as an INSERT or a COPY as the body of a WITH."""
_READ: Mapping[str, frozenset[str]] = {
    "CONSTANT": frozenset({"value"}),
    "PARAMETER": frozenset({"identifier"}),
    "COLUMN_REF": frozenset({"column_names"}),
    "FUNCTION": frozenset({"function_name", "children"}),
    "STAR": frozenset({"columns", "expr", "replace_list"}),
    "CAST": frozenset({"child"}),
    "COMPARISON": frozenset({"left", "right"}),
    "CONJUNCTION": frozenset({"children"}),
    "BETWEEN": frozenset({"input", "lower", "upper"}),
    "OPERATOR": frozenset({"children"}),
}
"""The fields that are read from expressions."""


def read_tree(judge: duckdb.DuckDBPyConnection, select: str) -> Node:
    """Return the syntax tree of a SELECT. Raises QueryError if there is none, as for a PRAGMA, or
    if it has unknown nodes."""
    ((answer,),) = judge.execute("SELECT json_serialize_sql(?::VARCHAR)", [select]).fetchall()
    try:
        tree: dict[str, Any] = orjson.loads(_INFINITE.sub(r"\1null", answer))
    except orjson.JSONDecodeError as error:
        raise QueryError(f"the query is nested too deeply to be checked: {error}") from error
    if tree["error"] or len(tree["statements"]) != 1:
        raise QueryError(
            f"the query cannot be checked: {tree.get('error_message', 'it is not one SELECT')}"
        )
    try:
        for node in nodes(tree):
            _make_known(node)
    except (KeyError, TypeError) as error:
        raise _unknown("a part of its syntax tree") from error
    return tree


def nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Yield a node and all nodes below it. If the caller changes a node, the new nodes below it are
    yielded."""
    stack = [tree]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _make_known(node: dict[str, Any]) -> None:
    """Give a node the form that it has in DuckDB 1.5, and check that it is known."""
    kind, expression = node.get("type"), node.get("class")
    if "arguments" in node:
        node["children"] = [argument["expression"] for argument in node.pop("arguments")]
    if expression == "CONSTANT" and "literal" in node:
        node["value"] = _value(**node.pop("literal"))
    if node.get("limit_type", "ROW_COUNT") != "ROW_COUNT":
        kind = node["type"] = "LIMIT_PERCENT_MODIFIER"
    if node.get("ranking_expression") is not None:
        node["ref_type"] = "NEAREST"
    if "qualified_name" in node:
        _check_name(node)
    if expression is not None:
        if expression not in _EXPRESSIONS or not node.keys() >= _READ.get(expression, set()):
            raise _unknown(expression)
    elif "info_type" in node:
        raise _unknown(node["info_type"])
    elif (
        isinstance(kind, str)
        and not kind.endswith("_TYPE_INFO")
        and not (kind in _REQUIRED and node.keys() >= _REQUIRED[kind])
    ):
        raise _unknown(kind)


def _value(kind: str, text: str) -> dict[str, object]:
    """Return the value of a literal of DuckDB 2, or its text if its kind is not used here."""
    if kind == "NULL_LITERAL":
        return {"type": {"id": "NULL"}, "is_null": True}
    value: object = text
    known = {"STRING": "VARCHAR"}.get(kind, f"literal {kind}")
    if kind == "INTEGER" and _WHOLE.fullmatch(text):
        number = int(text.replace("_", "")) if len(text) < _LONG else _LARGEST
        if -_LARGEST <= number < _LARGEST:
            known, value = "BIGINT", number
    return {"type": {"id": known}, "is_null": False, "value": value}


def _check_name(node: Node) -> None:
    """Check that a name of DuckDB 2 has no parts besides those that we read."""
    path = node["qualified_name"]["path"]
    if node.get("type") == "BASE_TABLE":
        parts = (node["catalog_name"], node["schema_name"], node["table_name"])
    elif node.get("class") == "FUNCTION":
        parts = (node["catalog"], node["schema"], node["function_name"])
    else:
        return
    if path != [part for part in parts if part]:
        raise QueryError(f"the query cannot be checked: {'.'.join(path)} has too many parts")


def _unknown(what: object) -> QueryError:
    return QueryError(f"the query cannot be checked: {what} is not allowed in a query")
