"""Places for logs, as processes tell each other of them."""

from __future__ import annotations

from typing import Any

from lakebed.catalog.log.store import LogStore
from lakebed.catalog.log.stores.bucket import BucketLogStore
from lakebed.catalog.log.stores.redis import RedisLogStore
from lakebed.objects.opening import open_store, parse_place

Place = dict[str, Any]
"""The `catalog` of `lakebed.open`."""


def connect(place: Place) -> LogStore:
    """The store at a place."""
    options = {name: value for name, value in place.items() if name != "type"}
    if place["type"] == "redis":
        return RedisLogStore(**options)
    return BucketLogStore(open_store(*parse_place("place", options)))
