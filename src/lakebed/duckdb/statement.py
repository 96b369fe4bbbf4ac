"""Parses a query with DuckDB's own parser, and checks whether it is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import NamedTuple

import duckdb

from lakebed.duckdb.trees import Node, read_tree
from lakebed.errors import QueryError

FUNCTIONS = frozenset(
    {
        "generate_series", "range", "repeat", "unnest", "json_each", "json_tree",
        "icu_calendar_names", "pg_timezone_names", "duckdb_functions", "duckdb_keywords",
        "duckdb_types", "pragma_version",
    }
)  # fmt: skip
"""The table functions that a query may call. Other functions read files, run SQL text, take raw
pointers, show what was loaded for other queries, or change the session (`enable_logging` makes
every later query fail)."""

_CATALOG = frozenset(
    {
        ("information_schema", "schemata"), ("information_schema", "character_sets"),
        ("pg_catalog", "pg_type"), ("pg_catalog", "pg_namespace"), ("pg_catalog", "pg_database"),
    }
)  # fmt: skip
"""The tables of DuckDB that a query may read. They show nothing about other queries."""

_TELLING = frozenset({"pg_get_viewdef", "pg_get_constraintdef", "index_key"})
"""Functions that read the other tables of DuckDB."""

_UNSAFE = frozenset({"to_aggregate_state", "setval"})
"""Functions of DuckDB 2 that turn any value into the state of an aggregate, or that write."""

_LOCAL = re.compile(r"[^\W\d][\w \-]*")  # the names that a WITH may use: they cannot name a file
_TAKEN = ("lakebed_", "duckdb_", "sqlite_", "pragma_")  # how DuckDB's names and ours begin

_EXPLAIN = re.compile(
    r"\A(?:\s|--[^\n\r]*|/\*.*?\*/)*(EXPLAIN(?:\s+ANALYZE\b)?"
    r"(?:\s*\((?!\s*(?:SELECT|FROM|WITH|VALUES|TABLE)\b)[\w\s,]*\))?)",
    re.IGNORECASE | re.DOTALL,
)
_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT"})
_DENIED = "external_access=True allows it"


class Call(NamedTuple):
    """A call of a table function of the lake. The arguments are constants and parameters."""

    name: str
    arguments: tuple[object, ...]


class Statement(NamedTuple):
    """An allowed query: its text, its syntax tree, and the tables and calls of the lake in it."""

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
    """Parse a query, and check that it is allowed: that it is one SELECT, or an EXPLAIN of one, and
    names no file and no harmful table function.

    `tables`, `calls`: the names of the lake's tables and table functions. `judge`: a connection to
    a database without files, because DuckDB reads some files while it parses.

    Raises QueryError, which says what is not allowed or where the syntax is wrong.
    """
    if not isinstance(text, str):
        raise QueryError(f"query must be a string, got {type(text).__name__}")
    kind = _kind(judge, text)
    if kind not in ("SELECT", "EXPLAIN"):
        raise QueryError(
            f"the query must be one SELECT or EXPLAIN, got a statement of the kind {kind}; "
            + _DENIED
        )
    select, before = text, ""
    if kind == "EXPLAIN" and (explain := _EXPLAIN.match(text)):
        # The text that runs is put together from the checked parts. Comments and brackets may hide
        # the beginning of the SELECT from this pattern, but not from DuckDB.
        select, before = text[explain.end() :], f"{explain[1]} "
    tree = read_tree(judge, select)
    return _judged(before + select, tree, params, tables, calls)


def _kind(judge: duckdb.DuckDBPyConnection, text: str) -> str:
    """Return the kind of the only statement in a text."""
    try:
        text.encode()
        found = judge.extract_statements(text)
    except duckdb.PermissionException:
        return "IMPORT"  # the only statement for which the parser reads files
    except (duckdb.Error, UnicodeEncodeError) as error:
        raise QueryError(str(error)) from error
    if len(found) != 1:
        raise QueryError(
            f"the query must be one SELECT or EXPLAIN, got {len(found)} statements"
            + (" (write PIVOT … ON column IN (…))" if _is_pivot(text) else "")
        )
    return found[0].type.name


def unjudged(text: str, tables: frozenset[str], calls: frozenset[str]) -> Statement:
    """Accept any statement. Its tables are those of the lake whose names are in its text.

    Raises QueryError if it calls a table function of the lake.
    """
    words = set(re.findall(r"[a-z_]+", text.lower()))
    if found := words & calls:
        raise QueryError(f"{min(found)}(…) cannot be used with external_access")
    return Statement(text, {}, tables & words, frozenset())


def constant(node: Node, params: object) -> tuple[bool, object]:
    """Return whether a node is a constant or a parameter with a known value, and the value."""
    if node.get("class") == "CONSTANT":
        value = node["value"]
        if value["is_null"]:
            return True, None
        # Other types have special encodings: 1.0 is written as 10 with one decimal place.
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
                raise QueryError(f"a WITH cannot use the name {name!r}: choose another name")
            if name in tables and not qualified:
                named.add(name)
            elif not (_is_catalog(node) if qualified else name in local):
                raise QueryError(
                    f"no table {node['table_name']!r}: a query can read {_all(tables, calls)}"
                )
        elif kind == "SHOW_REF" and node["query"] is None:
            raise QueryError(
                f"expected DESCRIBE of one table: a query can read {_all(tables, calls)}"
            )
        elif kind == "FUNCTION" and str(node["function_name"]).lower() in _TELLING | _UNSAFE:
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
    """Yield all nodes, each with the names of the WITH tables that are visible there."""
    stack: list[tuple[object, frozenset[str]]] = [(tree, frozenset())]
    while stack:
        item, local = stack.pop()
        if isinstance(item, list):
            stack += [(child, local) for child in item]
        elif isinstance(item, dict):
            if isinstance(item.get("cte_map"), dict):
                for cte in item["cte_map"].get("map", ()):  # each sees the ones before it
                    stack.append((cte["value"], local))
                    local |= {_local_name(cte["key"])}
            yield item, local
            inner = local
            if item.get("type") == "RECURSIVE_CTE_NODE":
                # In its first part, the name is not visible: there it means a table or a file.
                inner = local | {_local_name(item["cte_name"])}
            stack += [
                (child, inner if name == "right" else local)
                for name, child in item.items()
                if name != "cte_map"
            ]


def _local_name(given: object) -> str:
    name = str(given).lower()
    if not _LOCAL.fullmatch(name) or name.startswith(_TAKEN):
        raise QueryError(f"a WITH cannot use the name {given!r}: choose a plain name")
    return name


def _arguments(name: str, children: list[Node], params: object) -> tuple[object, ...]:
    values = []
    for child in children:
        known, value = constant(child, params)
        if not known or not isinstance(value, (str, int, NoneType)):
            raise QueryError(
                f"{name}(…): an argument must be a string, a whole number, or a parameter with one"
            )
        values.append(value)
    return tuple(values)


def _is_catalog(node: Node) -> bool:
    """Return whether a table is one of DuckDB's tables that a query may read."""
    name = (str(node["schema_name"]).lower(), str(node["table_name"]).lower())
    return name in _CATALOG and str(node["catalog_name"]).lower() in ("", "system")


def _all(tables: frozenset[str], calls: frozenset[str]) -> str:
    """Return a list of what a query can read, as text."""
    return ", ".join(sorted(tables | {f"{call}(…)" for call in calls}))


def _is_pivot(text: str) -> bool:
    return re.search(r"\bPIVOT", text, re.IGNORECASE) is not None
