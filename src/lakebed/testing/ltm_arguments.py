"""The part of the LTM suite for arguments: conditions, expiry, pages, wrong names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lakebed.ltm import LTMBackend


class LTMArguments:
    """The calls take the arguments that those of a lake take. See `LTMContract`."""

    def test_conditions(self, memory: LTMBackend) -> None:
        first = memory.store("k", 1, if_absent=True)
        assert first["created"] is True
        assert memory.store("k", 2, if_absent=True)["error_type"] == "conflict"
        assert memory.store("k", 2, if_match=first["content_hash"])["success"] is True
        assert memory.store("k", 3, if_match=first["content_hash"])["error_type"] == "conflict"
        assert memory.delete("k", if_match=first["content_hash"])["error_type"] == "conflict"
        assert memory.retrieve("k")["value"] == 2
        with memory.transaction() as tx:
            assert tx.store("new", 1, if_absent=True)["success"] is True
        with memory.transaction() as tx:
            tx.store("new", 2, if_absent=True)
            assert tx.commit()["error_type"] == "conflict"
        assert memory.retrieve("new")["value"] == 1

    @pytest.mark.parametrize(
        "expiry",
        [
            {"ttl": 3600},
            {"ttl": "1h"},
            {"ttl": timedelta(hours=1)},
            {"expires_at": datetime.now(UTC) + timedelta(hours=1)},
            {"expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
        ],
        ids=["seconds", "text", "timedelta", "datetime", "ISO 8601"],
    )
    def test_expiry_as_an_argument(self, memory: LTMBackend, expiry: dict[str, Any]) -> None:
        assert memory.store("k", 1, {"ttl": 9e8}, **expiry)["success"] is True
        with memory.transaction() as tx:
            tx.store("t", 1, **expiry)
        for entry in memory.list()["entries"]:
            left = datetime.fromisoformat(entry["expires_at"]) - datetime.now(UTC)
            assert timedelta(0) < left <= timedelta(hours=1)

    @pytest.mark.parametrize(
        "expiry",
        [{"ttl": "soon"}, {"ttl": 0}, {"expires_at": "tomorrow"}, {"ttl": 1, "expires_at": "2990"}],
    )
    def test_a_wrong_expiry_stores_nothing(
        self, memory: LTMBackend, expiry: dict[str, Any]
    ) -> None:
        assert memory.store("k", 1, **expiry)["error_type"] == "validation_error"
        assert memory.list()["count"] == 0

    def test_list(self, memory: LTMBackend) -> None:
        for key in ("a/1", "a/2", "a/3", "b/1"):
            memory.store(key, key, {"odd": key.endswith(("1", "3"))})
        page = memory.list("a/", limit=2)
        assert (page["success"], page["count"], page["after"]) == (True, 2, "a/2")
        first = page["entries"][0]
        assert (first["key"], first["metadata"], first["format"]) == ("a/1", {"odd": True}, "json")
        assert first["expires_at"] is None
        rest = memory.list("a/", limit=2, after=page["after"])
        assert ([entry["key"] for entry in rest["entries"]], rest["after"]) == (["a/3"], None)
        odd = memory.list(metadata_filter={"odd": True})
        assert [entry["key"] for entry in odd["entries"]] == ["a/1", "a/3", "b/1"]

    def test_search_in_pages_of_a_prefix(self, memory: LTMBackend) -> None:
        for key in ("a/1", "a/2", "b/1"):
            memory.store(key, "oolong tea")
        found = memory.search("tea", prefix="a/", offset=1)
        assert ([hit["key"] for hit in found["results"]], found["total"]) == (["a/2"], 2)

    def test_a_wrong_name_of_an_argument(self, memory: LTMBackend) -> None:
        calls: dict[str, Any] = {
            "store": lambda: memory.store("k", 1, tll=5),  # type: ignore[call-arg]
            "search": lambda: memory.search("tea", prefx="a"),  # type: ignore[call-arg]
            "retrieve": lambda: memory.retrieve("k", fallback=1),  # type: ignore[call-arg]
        }
        for name, call in calls.items():
            result = call()
            assert result["error_type"] == "validation_error", name
            assert result["error"].startswith(f"{name} has no argument"), name
        assert "did you mean 'ttl'?" in calls["store"]()["error"]
        filtered = memory.search("tea", filter={"a": 1})  # type: ignore[call-arg]
        assert "did you mean 'metadata_filter' or 'value_filter'?" in filtered["error"]
        with pytest.raises(TypeError):  # a mistake of the program, not of an agent
            memory.store("k")  # type: ignore[call-arg]
        assert memory.list()["count"] == 0
