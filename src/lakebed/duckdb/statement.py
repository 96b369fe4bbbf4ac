"""What a query says, as DuckDB's own parser reads it, and whether it may say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, NamedTuple

import duckdb
import orjson

from lakebed.errors import QueryError

Node = Mapping[str, Any]
"""A node of DuckDB's syntax tree, as `json_serialize_sql` gives it."""

FUNCTIONS = frozenset(
    {
        "generate_series", "range", "repeat", "unnest", "json_each", "json_tree",
        "icu_calendar_names", "pg_timezone_names", "duckdb_functions", "duckdb_keywords",
        "duckdb_types", "pragma_version",
    }
)  # fmt: skip
"""Table functions that a query may call: others read files, run SQL text, take raw pointers, tell
of what was loaded for other queries, or change the session (`enable_logging` makes every later
query of it fail)."""

_CATALOG = frozenset(
    {
        ("information_schema", "schemata"), ("information_schema", "character_sets"),
        ("pg_catalog", "pg_type"), ("pg_catalog", "pg_namespace"), ("pg_catalog", "pg_database"),
    }
)  # fmt: skip
"""DuckDB's own tables that a query may read: those that tell nothing of other queries."""

_TELLING = frozenset({"pg_get_viewdef", "pg_get_constraintdef"})
"""Functions that look into such tables."""

_LOCAL = re.compile(r"[^\W\d][\w \-]*")  # what a WITH may be called: never like a file
_TAKEN = ("lakebed_", "duckdb_", "sqlite_", "pragma_")  # what DuckDB's and our own begin with

_EXPLAIN = re.compile(
    r"\A(?:\s|--[^\n\r]*|/\*.*?\*/)*(EXPLAIN(?:\s+ANALYZE\b)?"
    r"(?:\s*\((?!\s*(?:SELECT|FROM|WITH|VALUES|TABLE)\b)[\w\s,]*\))?)",
    re.IGNORECASE | re.DOTALL,
)
_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT"})
_INFINITE = re.compile(r'("value":)-?(?:Infinity|NaN)\b')  # of 1e400; no JSON, and of no interest
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
    judge: duckdb.DuckDBPyConnection,
    text: str,
    params: object,
    tables: frozenset[str],
    calls: frozenset[str],
) -> Statement:
    """The query, if it is one SELECT, or EXPLAIN of one, that names no file and no table function
    that could do harm. `tables` and `calls` are the names that the lake has; `judge` is a
    connection to a database that has no files, as DuckDB reads some while it parses.

    QueryError says what is not allowed, or where the syntax is wrong.
    """
    if not isinstance(text, str):
        raise QueryError(f"query is of type {type(text).__name__}: expected SQL text")
    kind = _kind(judge, text)
    if kind not in ("SELECT", "EXPLAIN"):
        raise QueryError(
            f"the query is a statement of the kind {kind}: expected one SELECT or EXPLAIN; "
            + _DENIED
        )
    select, before = text, ""
    if kind == "EXPLAIN" and (explain := _EXPLAIN.match(text)):
        # What runs is put together of what was judged: comments and brackets may hide where the
        # SELECT begins from this pattern, but not from DuckDB.
        select, before = text[explain.end() :], f"{explain[1]} "
    tree = read_tree(judge, select)
    return _judged(before + select, tree, params, tables, calls)


def _kind(judge: duckdb.DuckDBPyConnection, text: str) -> str:
    """What kind of statement the only one of a text is."""
    try:
        text.encode()
        found = judge.extract_statements(text)
    except duckdb.PermissionException:
        return "IMPORT"  # the one whose files are read in order to parse it
    except (duckdb.Error, UnicodeEncodeError) as error:
        raise QueryError(str(error)) from error
    if len(found) != 1:
        raise QueryError(
            f"the query is {len(found)} statements: expected one SELECT or EXPLAIN"
            + (" (write PIVOT … ON column IN (…))" if _is_pivot(text) else "")
        )
    return found[0].type.name


def unjudged(text: str, tables: frozenset[str], calls: frozenset[str]) -> Statement:
    """Any statement, with the tables of the lake whose names occur in its text."""
    words = set(re.findall(r"[a-z_]+", text.lower()))
    if found := words & calls:
        raise QueryError(f"{min(found)}(…) is not there with external_access")
    return Statement(text, {}, tables & words, frozenset())


def read_tree(judge: duckdb.DuckDBPyConnection, select: str) -> Node:
    """The syntax tree of a SELECT. (PRAGMA, which DuckDB makes a SELECT of, has none.)"""
    ((answer,),) = judge.execute("SELECT json_serialize_sql(?::VARCHAR)", [select]).fetchall()
    try:
        tree: Node = orjson.loads(_INFINITE.sub(r"\1null", answer))
    except orjson.JSONDecodeError as error:
        raise QueryError(f"the query nests too deeply to be looked through: {error}") from error
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
        if value["is_null"]:
            return True, None
        # Others are written in ways of their own: 1.0 as 10, to be divided by ten.
        return value["type"]["id"] in _WHOLE | {"VARCHAR"}, value["value"]
    if node.get("class") == "PARAMETER":
        name = str(node["identifier"])
        if isinstance(params, Mapping):
            given = [v for k, v in params.items() if str(k).lower() == name.lower()]
            return len(given) == 1, given[0] if given else None
        if isinstance(params, (list, tuple)) and name.isdigit():
            place = int(name) - 1
            return 0 <= place < len(params), params[place] if place < len(params) else None
    return False, None


def _judged(
    text: str, tree: Node, params: object, tables: frozenset[str], calls: frozenset[str]
) -> Statement:
    named, called = set[str](), set[Call]()
    for node, local in _scoped(tree):
        kind = node.get("type")
        if kind == "BASE_TABLE":
            name = str(node["table_name"]).lower()
            qualified = node["schema_name"] or node["catalog_name"]
            if name in tables and name in local:
                raise QueryError(f"the query gives the name {name!r} to a WITH: choose another")
            if name in tables and not qualified:
                named.add(name)
            elif not (_is_catalog(node) if qualified else name in local):
                raise QueryError(
                    f"no table {node['table_name']!r}: a query reads {_all(tables, calls)}"
                )
        elif kind == "SHOW_REF" and node["query"] is None:
            raise QueryError(f"expected DESCRIBE of one table: a query reads {_all(tables, calls)}")
        elif kind == "FUNCTION" and str(node["function_name"]).lower() in _TELLING:
            raise QueryError(f"the function {node['function_name']} is not allowed in a query")
        elif kind == "TABLE_FUNCTION":
            function = node["function"]
            name = str(function["function_name"]).lower()
            if name in calls:
                called.add(Call(name, _arguments(name, function["children"], params)))
            elif name not in FUNCTIONS:
                raise QueryError(f"the table function {name} is not allowed in a query; {_DENIED}")
    return Statement(text, tree, frozenset(named), frozenset(called))


def _scoped(tree: object) -> Iterator[tuple[Node, frozenset[str]]]:
    """All nodes, each with the names that a WITH gives to tables there."""
    stack: list[tuple[object, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        item, local = stack.pop()
        if isinstance(item, list):
            stack += [(child, local) for child in item]
        elif isinstance(item, dict):
            if isinstance(item.get("cte_map"), dict):
                for cte in item["cte_map"].get("map", ()):  # each sees those before it
                    stack.append((cte["value"], local))
                    local |= {_local_name(cte["key"])}
            yield item, local
            inner = local
            if item.get("type") == "RECURSIVE_CTE_NODE":
                # The part that it begins with does not see it: there the name is a table's, or a
                # file's.
                inner = local | {_local_name(item["cte_name"])}
            stack += [
                (child, inner if name == "right" else local)
                for name, child in item.items()
                if name != "cte_map"
            ]


def _local_name(given: object) -> str:
    name = str(given).lower()
    if not _LOCAL.fullmatch(name) or name.startswith(_TAKEN):
        raise QueryError(f"the query gives the name {given!r} to a WITH: choose a plain one")
    return name


def _arguments(name: str, children: list[Node], params: object) -> tuple[object, ...]:
    values = []
    for child in children:
        known, value = constant(child, params)
        if not known or not isinstance(value, (str, int, NoneType)):
            raise QueryError(
                f"{name}: expected a text, a whole number or a parameter of the query that is one"
            )
        values.append(value)
    return tuple(values)


def _is_catalog(node: Node) -> bool:
    """Whether a table is one of DuckDB's own that a query may read."""
    name = (str(node["schema_name"]).lower(), str(node["table_name"]).lower())
    return name in _CATALOG and str(node["catalog_name"]).lower() in ("", "system")


def _all(tables: frozenset[str], calls: frozenset[str]) -> str:
    """What a query reads, in words."""
    return ", ".join(sorted(tables | {f"{call}(…)" for call in calls}))


def _is_pivot(text: str) -> bool:
    return re.search(r"\bPIVOT", text, re.IGNORECASE) is not None
