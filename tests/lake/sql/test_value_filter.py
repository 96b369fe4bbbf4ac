"""search(value_filter=…) against the filter evaluated on each value."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lakebed.errors import ValidationError
from lakebed.filters import Filter
from lakebed.testing import FakeClock
from tests.lake.sql.conftest import OpenLake

pytestmark = pytest.mark.sampled("new_lake", 3)

VALUES: dict[str, Any] = {
    "a/small": {"n": 1, "word": "tea"},
    "a/large": {"n": 2, "word": "tea", "pad": "x" * 100},
    "a/other": {"n": "2", "deep": {"n": 2}, "pad": "y" * 100, "word": "tea"},
    "b/text": "tea n",
    "b/list": [{"n": 1}, "tea"],
    "b/number": 2,
    "b/bytes": b'{"n":2}',
    "b/null": {"n": None, "word": "tea"},
}
FILTERS: list[dict[str, Any]] = [
    {},
    {"n": 2},
    {"n": {"$gte": 1}},
    {"deep.n": 2},
    {"n": {"$exists": False}},
    {"$or": [{"n": 1}, {"n": "2"}]},
    {"$not": {"n": 1}},
    {"pad": {"$contains": "xx"}},
    {"n": {"$ne": 2}},
]


def test_equal_to_the_filter_on_each_value(new_lake: OpenLake) -> None:
    with new_lake(FakeClock()) as lake:
        lake.store_batch({"key": k, "value": v} for k, v in VALUES.items() if k[0] == "a")
        for key, value in VALUES.items():
            if key[0] == "b":
                lake.store(key, value, {"kind": "b"})
        lake.store("b/table", pa.table({"n": [2]}), {"word": "tea"})
        for source in FILTERS:
            judge = Filter(source).matches
            wanted = [k for k in sorted(VALUES) if isinstance(VALUES[k], dict) and judge(VALUES[k])]
            found = lake.search(value_filter=source, limit=100)
            assert ([hit.key for hit in found], found.total) == (wanted, len(wanted)), source
            page = lake.search(value_filter=source, limit=2, offset=1)
            assert ([hit.key for hit in page], page.total) == (wanted[1:3], len(wanted)), source
            asked = lake.search("tea", value_filter=source, prefix="a/")
            words = [k for k in wanted if k[0] == "a"]
            assert (sorted(hit.key for hit in asked), asked.total) == (words, len(words)), source
            ranked = [hit.key for hit in lake.search("tea", prefix="a/")]
            assert [hit.key for hit in asked] == [key for key in ranked if key in words]
        both = lake.search(value_filter={"n": None}, metadata_filter={"kind": "b"})
        assert [hit.key for hit in both] == ["b/null"]
        with pytest.raises(ValidationError, match="nearly"):
            lake.search(value_filter={"n": {"$nearly": 2}})
