"""The store must answer like the oracle. Hypothesis makes up the documents and queries."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakebed.documents.query.query import Stored, read_query
from lakebed.testing.documents.base import Base, Connect, blocking

_NAMES = st.sampled_from(["a", "b", "c", "0", "x y"])
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63)])
    | st.sampled_from([0.0, 0.5, 1.0, -1.5, 2.0**53, 2.0**63, 1e22, 1e-7, 1234567890123456768.0])
    | st.sampled_from(["", "a", "b", "B", "ab", "ä", "é", "e\u0301", "\uffff", "\U00010000", "1"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=5,
)
_DOCUMENTS = st.lists(st.dictionaries(_NAMES, _VALUES, max_size=4), min_size=1, max_size=8)
_FIELDS = st.lists(_NAMES, min_size=1, max_size=3).map(".".join)
_LISTS = st.lists(_VALUES, max_size=4)
_ORDERED = (
    st.integers(-3, 3)
    | st.sampled_from([2**53, 2.0**53, 0.5, 2.0**63, 1e22, 2**63 - 1, 1234567890123456768])
    | st.sampled_from(["", "a", "B", "ab", "ä", "e\u0301", "\uffff", "\U00010000"])
)
_FILTERS = st.one_of(
    st.tuples(_FIELDS, st.sampled_from(["==", "!=", "array-contains"]), _VALUES),
    st.tuples(_FIELDS, st.sampled_from(["in", "not-in", "array-contains-any"]), _LISTS),
    st.tuples(_FIELDS, st.sampled_from(["<", "<=", ">", ">="]), _ORDERED),
)
_QUERIES = st.fixed_dictionaries(
    {
        "filters": st.lists(_FILTERS, max_size=2),
        "order_by": st.lists(st.tuples(_FIELDS, st.sampled_from(["asc", "desc"])), max_size=2),
        "limit": st.none() | st.integers(0, 4),
        "offset": st.integers(0, 2),
    }
)


class OracleTests(Base):
    """A store answers a query as plain Python code does over all documents."""

    examples = 15

    @pytest.fixture
    def asked(self, connect: Connect) -> Any:
        make, kind, options = connect
        with blocking(make(kind, **options)) as store:
            yield store

    def test_every_answer_is_the_oracle_s(self, asked: Any) -> None:
        @settings(
            max_examples=_examples(self.examples),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(_DOCUMENTS, st.lists(_QUERIES, min_size=1, max_size=8), st.data())
        def check(documents: list[Any], queries: list[Any], data: st.DataObject) -> None:
            collection = f"oracle-{secrets.token_hex(6)}"
            documents = [one for one in documents if self.nested_lists or not _nests(one)]
            held = [Stored(f"d{i}", document) for i, document in enumerate(documents)]
            if not held:
                return
            result = asked.batch_set(
                [{"collection": collection, "doc_id": one.doc_id, "data": one.data} for one in held]
            )
            assert result["success"], result
            # A filter with a value of a document matches more often than a random one.
            queries.append({"filters": [_for_one(data, documents)]})
            for query in queries:
                self._compare(asked, collection, held, query, data)

        check()

    def _compare(
        self, store: Any, collection: str, held: list[Stored], query: Any, data: st.DataObject
    ) -> None:
        asked = read_query(
            collection, query["filters"], query.get("order_by"), query.get("limit"),
            query.get("offset", 0),
        )  # fmt: skip
        wanted = [one.doc_id for one in asked.answer(held)]
        found = store.query(collection, **({"limit": None} | query))
        assert found["success"], found
        assert [one["doc_id"] for one in found["results"]] == wanted, query
        by_id = {one.doc_id: one.data for one in held}
        assert all(one["data"] == by_id[one["doc_id"]] for one in found["results"])
        every = [one.doc_id for one in asked.every().answer(held)]
        assert store.count(collection, query["filters"])["count"] == len(every)
        start = data.draw(st.sampled_from(sorted(by_id)))
        order = read_query(collection, None, query.get("order_by"), None, 0).answer(held)
        ordered = [one.doc_id for one in order]
        later = [name for name in ordered[ordered.index(start) + 1 :] if name in every]
        found = store.query(
            collection, query["filters"], query.get("order_by"), limit=None, start_after=start
        )
        assert [one["doc_id"] for one in found["results"]] == later, (query, start)


def _nests(value: Any) -> bool:
    """Return whether a list is directly in a list."""
    if isinstance(value, dict):
        return any(map(_nests, value.values()))
    return isinstance(value, list) and any(isinstance(i, list) or _nests(i) for i in value)


def _examples(usual: int) -> int:
    """Return how many examples to run: as many as the profile says, if it asks for many."""
    profile = settings.default
    return profile.max_examples if profile and profile.max_examples > 1000 else usual


def _for_one(data: st.DataObject, documents: list[Any]) -> tuple[str, str, Any]:
    """Draw a filter that is likely to find one of the documents."""
    document = data.draw(st.sampled_from(documents))
    if not document:
        return "a", "==", 1
    name = data.draw(st.sampled_from(sorted(document)))
    value = document[name]
    if isinstance(value, list) and value:
        return name, "array-contains", data.draw(st.sampled_from(value))
    return name, data.draw(st.sampled_from(["==", "!="])), value
