"""Requests to DynamoDB that find at least all matches. Names and values are placeholders."""

from __future__ import annotations

from typing import Any, Final

from lakebed.documents.dynamodb.items import INDEX
from lakebed.documents.dynamodb.numbers import marshalled
from lakebed.documents.query.conditions import Condition
from lakebed.documents.query.query import Query

_MOST_VALUES: Final = 50  # in one condition; DynamoDB takes 100
_MOST_BYTES: Final = 255  # the longest alias of a name
_MOST_CONDITIONS: Final = 10


class Request:
    """The arguments of a request to the index."""

    def __init__(self, query: Query) -> None:
        self._names = {"#c": "collection"}
        self._values: dict[str, Any] = {":c": {"S": query.collection}}
        keys = "#c = :c"
        if query.start is not None and not query.orders and query.start.doc_id is not None:
            self._names["#id"] = "doc_id"
            keys += f" AND #id > {self._value(query.start.doc_id)}"
        filters = [
            text for one in query.conditions[:_MOST_CONDITIONS] if (text := self._condition(one))
        ]
        self.arguments: dict[str, Any] = {
            "IndexName": INDEX,
            "KeyConditionExpression": keys,
            "ExpressionAttributeNames": self._names,
            "ExpressionAttributeValues": self._values,
        }
        if filters:
            self.arguments["FilterExpression"] = " AND ".join(filters)

    def _condition(self, condition: Condition) -> str | None:
        path, operator, value = condition.path, condition.operator, condition.value
        if any(len(name.encode()) > _MOST_BYTES for name in path):
            return None
        field = ".".join(map(self._name, ("data", *path)))
        if operator in ("!=", "not-in"):
            return f"attribute_exists({field})"
        if operator == "in" and 0 < len(value) <= _MOST_VALUES:
            return f"{field} IN ({', '.join(map(self._value, value))})"
        if operator == "array-contains" and isinstance(value, (str, int, float)):
            return f"contains({field}, {self._value(value)})"
        if operator.startswith("array-"):
            return f"attribute_type({field}, {self._value('L')})"
        if operator == "in":
            return f"attribute_exists({field})"
        return f"{field} {'=' if operator == '==' else operator} {self._value(value)}"

    def _name(self, name: str) -> str:
        placeholder = f"#n{len(self._names)}"
        self._names[placeholder] = name
        return placeholder

    def _value(self, value: Any) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = marshalled(value)
        return placeholder
