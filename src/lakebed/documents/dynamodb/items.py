"""Documents as items of the table, and the condition that an item has not changed.

pk          <collection>#<doc_id>     `%` and `#` in a collection's name are %25 and %23
collection, doc_id                    the keys of the index `by_collection`
data        the document, a map
floats      the paths of whole numbers that are floats, if there are any
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from lakebed.documents.backend import Key
from lakebed.documents.data import Content
from lakebed.documents.dynamodb.numbers import (
    marshalled,
    restore_floats,
    unmarshalled,
    whole_floats,
)
from lakebed.documents.query.query import Stored

INDEX: Final = "by_collection"
Item = dict[str, Any]


def key_of(key: Key) -> Item:
    """Return the key of a document's item."""
    collection = key[0].replace("%", "%25").replace("#", "%23")
    return {"pk": {"S": f"{collection}#{key[1]}"}}


def item_of(key: Key, content: Content) -> Item:
    """Return the item of a document."""
    item = {
        **key_of(key),
        "collection": {"S": key[0]},
        "doc_id": {"S": key[1]},
        "data": marshalled(content.data),
    }
    floats = whole_floats(content.data)
    return item | {"floats": {"S": json.dumps(floats)}} if floats else item


def stored(item: Item) -> Stored:
    """Return the document of an item."""
    data = unmarshalled(item["data"])
    if "floats" in item:
        restore_floats(data, item["floats"]["S"])
    return Stored(item["doc_id"]["S"], data, item)


def condition(found: Stored | None) -> dict[str, Any]:
    """Return the condition that an item has not changed."""
    if found is None:
        return {
            "ConditionExpression": "attribute_not_exists(#pk)",
            "ExpressionAttributeNames": {"#pk": "pk"},
        }
    item = found.version
    assert isinstance(item, Mapping)
    names, values = {"#data": "data", "#floats": "floats"}, {":data": item["data"]}
    if "floats" in item:
        floats = "#floats = :floats"
        values[":floats"] = item["floats"]
    else:
        floats = "attribute_not_exists(#floats)"
    return {
        "ConditionExpression": f"#data = :data AND {floats}",
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
