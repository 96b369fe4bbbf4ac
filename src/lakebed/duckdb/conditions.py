"""Finds the conditions of a query on keys and metadata that a catalog can use.

The bounds must include every row that the query needs. DuckDB then applies the exact conditions. If
a query names a table more than once, the bounds must be wide enough for each use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from lakebed.duckdb.statement import Statement, constant
from lakebed.duckdb.trees import Node, nodes

_FLIPPED = {
    "COMPARE_EQUAL": "COMPARE_EQUAL",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
}
_PREFIX = frozenset({"starts_with", "^@", "prefix"})
_EXTRACT = frozenset({"->>", "json_extract_string", "json_extract_path_text"})
LAST = "\U0010ffff" * 257
"""Greater than every key."""


class Bounds(NamedTuple):
    """Keys with `low <= key < high`, and fields of the metadata that must equal a string."""

    low: str = ""
    high: str = LAST
    fields: tuple[tuple[str, str], ...] = ()

    def both(self, other: Bounds) -> Bounds:
        """Return bounds of the rows that satisfy both."""
        return Bounds(
            max(self.low, other.low), min(self.high, other.high), self.fields + other.fields
        )

    def either(self, other: Bounds) -> Bounds:
        """Return bounds of the rows that satisfy either. They may include more rows."""
        fields = self.fields if self.fields == other.fields else ()
        return Bounds(min(self.low, other.low), max(self.high, other.high), fields)


def bounds(statement: Statement, is_table: Callable[[Node], bool], params: object) -> Bounds:
    """Return the bounds of a table in a query. `is_table` recognises the nodes that name it."""
    named = sum(1 for node in nodes(statement.tree) if is_table(node))
    found = [
        _of_select(select, table, params)
        for select in nodes(statement.tree)
        if select.get("type") == "SELECT_NODE"
        for table in _tables_of(select.get("from_table"))
        if is_table(table)
    ]
    if not found or len(found) != named:
        return Bounds()
    result = found[0]
    for other in found[1:]:
        result = result.either(other)
    return result


def columns_read(statement: Statement, is_table: Callable[[Node], bool]) -> frozenset[str] | None:
    """Return the columns of a table that a query may read, or None if it may read all of them. The
    result may contain other names too. `is_table` recognises the nodes that name the table."""
    if not statement.tree:
        return None
    rows, read = set[str](), set[str]()  # `rows`: names that stand for a whole row
    found = list(nodes(statement.tree))
    for node in filter(is_table, found):
        if node["column_name_alias"]:
            return None
        name = node.get("table_name") or node["function"]["function_name"]
        rows |= {str(name).lower(), str(node["alias"]).lower()}
    for node in found:
        if node.get("class") in ("STAR", "POSITIONAL_REFERENCE") or node.get("type") in (
            "PIVOT",
            "SHOW_REF",
        ):
            return None
        if node.get("ref_type") not in (None, "REGULAR", "CROSS"):
            return None
        read.update(str(name).lower() for name in node.get("using_columns") or ())
        if node.get("class") == "COLUMN_REF":
            names = [str(name).lower() for name in node["column_names"]]
            if names[-1] in rows:
                return None
            read.update(names)
    return frozenset(read)


MOST_LIMITED = 10_000
"""The largest limit of a query that is used to load fewer rows."""


def row_limit(statement: Statement, is_table: Callable[[Node], bool], params: object) -> int | None:
    """Return how many rows of a table, the first by key, are enough for a query. Return None unless
    the query has the form `SELECT columns FROM table [ORDER BY key] LIMIT n`."""
    selects = [node for node in nodes(statement.tree) if node.get("type") == "SELECT_NODE"]
    if len(selects) != 1 or statement.calls or len(statement.tables) != 1:
        return None
    (select,) = selects
    table = select["from_table"]
    plain = not (
        select["where_clause"] or select["group_expressions"] or select["having"]
        or select["sample"] or select["qualify"] or select["cte_map"]["map"]
    )  # fmt: skip
    if not plain or select["aggregate_handling"] != "STANDARD_HANDLING" or not is_table(table):
        return None
    if table["sample"] or table["column_name_alias"] or table.get("at_clause"):
        return None
    if not all(_is_of_one_row(item) for item in select["select_list"]):
        return None
    keys = [["key"], [str(table["alias"] or table["table_name"]).lower(), "key"]]
    if any(str(item.get("alias", "")).lower() == "key" for item in select["select_list"]):
        keys = []
    return _limit(select["modifiers"], keys, params)


def _is_of_one_row(item: Node) -> bool:
    """Return whether a selected expression has one value for each row. An aggregate does not."""
    if item.get("class") == "STAR":
        return not (
            item["columns"] or item["expr"] or item["replace_list"] or item.get("rename_list")
        )
    if item.get("class") == "FUNCTION":
        return item["function_name"] in _EXTRACT | {"->"} and all(
            map(_is_of_one_row, item["children"])
        )
    if item.get("class") == "CAST":
        return _is_of_one_row(item["child"])
    return item.get("class") in ("COLUMN_REF", "CONSTANT", "PARAMETER")


def _limit(modifiers: list[Node], keys: list[list[str]], params: object) -> int | None:
    """Return the number of rows that a query wants, if it wants any rows or the first ones by one
    of these columns. Otherwise return None."""
    limit = None
    for modifier in modifiers:
        if modifier["type"] == "LIMIT_MODIFIER":
            numbers = [
                (True, 0) if node is None else constant(node, params)
                for node in (modifier["limit"], modifier["offset"])
            ]
            if modifier["limit"] is None or not all(
                known and type(number) is int and number >= 0 for known, number in numbers
            ):
                return None
            limit = sum(int(str(number)) for _, number in numbers)
        elif modifier["type"] != "ORDER_MODIFIER" or not _is_by(keys, modifier["orders"]):
            return None
    return limit if limit is not None and limit <= MOST_LIMITED else None


def _is_by(keys: list[list[str]], orders: list[Node]) -> bool:
    """Return whether rows are sorted by one of these columns, in ascending order."""
    if len(orders) != 1 or orders[0]["type"] not in ("ORDER_DEFAULT", "ASCENDING"):
        return False
    names = orders[0]["expression"].get("column_names", ())
    return [str(name).lower() for name in names] in keys


def _tables_of(source: object) -> Iterator[Node]:
    """Yield those tables of a FROM for which every row that is used must satisfy the WHERE."""
    if not isinstance(source, dict):
        return
    if source.get("type") in ("BASE_TABLE", "TABLE_FUNCTION"):
        yield source
    elif source.get("type") == "JOIN" and _is_plain_join(source):
        yield from _tables_of(source["left"])
        yield from _tables_of(source["right"])


def _is_plain_join(source: Node) -> bool:
    """Return whether leaving out a row of a join leaves out only the results of this row. This is
    false for an ASOF join, which takes the nearest row, and for a positional join, which counts
    rows."""
    return source["join_type"] == "INNER" and source["ref_type"] in ("REGULAR", "NATURAL", "CROSS")


def _of_select(select: Node, table: Node, params: object) -> Bounds:
    aliases = {str(item.get("alias", "")).lower() for item in select.get("select_list", ())}
    if table["column_name_alias"] or table.get("sample") or aliases & {"key", "metadata"}:
        return Bounds()
    name = table["alias"] or table.get("table_name") or table["function"]["function_name"]
    alone = select["from_table"] is table
    return _Reader(str(name).lower(), alone, params).condition(select.get("where_clause"))


class _Reader:
    """Reads the conditions on a table in one SELECT."""

    def __init__(self, name: str, alone: bool, params: object) -> None:
        self._name = name
        self._alone = alone
        self._params = params

    def condition(self, node: object) -> Bounds:
        if not isinstance(node, dict):
            return Bounds()
        kind, result = node.get("type"), Bounds()
        if kind == "CONJUNCTION_AND":
            for child in node["children"]:
                result = result.both(self.condition(child))
        elif kind == "CONJUNCTION_OR":
            result = self.condition(node["children"][0])
            for child in node["children"][1:]:
                result = result.either(self.condition(child))
        elif kind == "COMPARE_BETWEEN" and self._is_column(node["input"], "key"):
            result = self._compared("COMPARE_GREATERTHANOREQUALTO", node["lower"]).both(
                self._compared("COMPARE_LESSTHANOREQUALTO", node["upper"])
            )
        elif kind == "COMPARE_IN":
            result = self._listed(node["children"])
        elif kind in _FLIPPED:
            result = self._comparison(kind, node["left"], node["right"])
        elif kind == "FUNCTION" and len(node["children"]) == 2:
            result = self._prefix(str(node["function_name"]), *node["children"])
        return result

    def _comparison(self, kind: str, left: Node, right: Node) -> Bounds:
        if self._is_column(left, "key"):
            return self._compared(kind, right)
        if self._is_column(right, "key"):
            return self._compared(_FLIPPED[kind], left)
        if kind == "COMPARE_EQUAL":
            for side, other in ((left, right), (right, left)):
                path, text = self._path(side), self._text(other)
                if path is not None and text is not None and _is_plain(text):
                    return Bounds(fields=((path, text),))
        return Bounds()

    def _compared(self, kind: str, node: Node) -> Bounds:
        text = self._text(node)
        if text is None:
            return Bounds()
        after = text + "\x01"  # no key contains NUL
        if kind == "COMPARE_EQUAL":
            return Bounds(text, after)
        if kind.startswith("COMPARE_GREATERTHAN"):
            return Bounds(low=text)
        return Bounds(high=after)

    def _listed(self, children: list[Node]) -> Bounds:
        column, *items = children
        if not self._is_column(column, "key"):
            return Bounds()
        texts = [text for text in map(self._text, items) if text is not None]
        if len(texts) != len(items):
            return Bounds()
        return Bounds(min(texts), max(texts) + "\x01")

    def _prefix(self, function: str, column: Node, pattern: Node) -> Bounds:
        text = self._text(pattern)
        if text is None or not self._is_column(column, "key"):
            return Bounds()
        if function == "~~":
            text = text.replace("_", "%").partition("%")[0]
        elif function not in _PREFIX:
            return Bounds()
        return Bounds(text, text + LAST)

    def _is_column(self, node: Node, column: str) -> bool:
        if node.get("class") != "COLUMN_REF":
            return False
        names = [str(name).lower() for name in node["column_names"]]
        return names == [self._name, column] or (self._alone and names == [column])

    def _text(self, node: Node) -> str | None:
        known, value = constant(node, self._params)
        if not known or not isinstance(value, str) or "\0" in value:
            return None
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
        return value

    def _path(self, node: Mapping[str, Any]) -> str | None:
        """Return the path of the metadata field that a node extracts as text, or None. The path is
        written as in filters."""
        if node.get("type") != "FUNCTION" or node["function_name"] not in _EXTRACT:
            return None
        if len(node["children"]) != 2 or not self._is_column(node["children"][0], "metadata"):
            return None
        path = self._text(node["children"][1])
        if path and path.startswith("$."):
            parts = path[2:].split(".")
            return path[2:] if all(part.isidentifier() for part in parts) else None
        return path if path and path.isidentifier() else None


def _is_plain(text: str) -> bool:
    """Return whether only a string can have this text. This is so if the text is not JSON and does
    not begin like a number."""
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return not text.lstrip("-").startswith(tuple("0123456789"))
    return False
