"""The suite for backends of the LTM interface: `LTMContract`."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lakebed.ltm import LTMBackend, compute_content_hash
from lakebed.testing.ltm_arguments import LTMArguments
from lakebed.testing.ltm_batches import LARGE, LTMBatches, some_wrong

_VALUES = [
    None,
    True,
    0,
    10**30,
    1e22,
    -0.0,
    "",
    "naïve 日本語 \U0001f600 \x00",
    [],
    {},
    [1, [2, {"a": None}]],
    {"b": 1, "": {"nested": [True, 1.5]}},
    b"\x00\xffbytes",
    LARGE,
]
_FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "abc"),
    ({"kind": "note"}, "ab"),
    ({"kind": {"$in": ["fact", "task"]}}, "c"),
    ({"n": {"$gte": 2}}, "bc"),
    ({"$or": [{"n": 1}, {"kind": "fact"}]}, "ac"),
    ({"deep.x": {"$exists": True}}, "b"),
]


class LTMContract(LTMArguments, LTMBatches, ABC):
    """The tests of the LTM interface. Subclass it, and define how your backend is made.

        class TestMyBackend(LTMContract):
            def make_backend(self, folder):
                return create_ltm_backend("mine", path=folder / "memory")

    Each test has its own folder and its own empty memory.
    """

    @abstractmethod
    def make_backend(self, folder: Path) -> LTMBackend:
        """Return a backend over an empty memory. `folder` exists, is empty and belongs to the
        test."""

    @pytest.fixture
    def memory(self, tmp_path: Path) -> Iterator[LTMBackend]:
        """The backend under test."""
        with self.make_backend(tmp_path) as backend:
            yield backend

    @pytest.mark.parametrize("value", _VALUES, ids=lambda value: repr(value)[:30])
    def test_store_and_retrieve(self, memory: LTMBackend, value: Any) -> None:
        stored = memory.store("k", value, {"source": "chat"})
        assert (
            stored.items()
            >= {
                "success": True,
                "stored": True,
                "key": "k",
                "created": True,
                "deduplicated": False,
                "content_hash": compute_content_hash(value),
            }.items()
        )
        assert isinstance(stored["inlined"], bool)
        assert stored["byte_size"] > 0
        assert ("storage_uri" in stored) is not stored["inlined"]
        assert memory.retrieve("k", "default") == {
            "success": True,
            "value": value,
            "found": True,
            "metadata": {"source": "chat"},
            "content_hash": stored["content_hash"],
            "inlined": stored["inlined"],
        }

    @pytest.mark.parametrize("value", ["small", LARGE], ids=["small", "large"])
    def test_storing_the_same_again_changes_nothing(self, memory: LTMBackend, value: str) -> None:
        memory.store("k", value, {"a": 1})
        again = memory.store("k", value, {"a": 1})
        assert (again["success"], again["stored"], again["created"]) == (True, False, False)
        assert again["deduplicated"] is True
        other = memory.store("other", value)
        assert (other["stored"], other["created"], other["deduplicated"]) == (True, True, True)
        changed = memory.store("k", value, {"a": 2})
        assert (changed["stored"], changed["created"]) == (True, False)

    def test_store_replaces_the_entry_whole(self, memory: LTMBackend) -> None:
        memory.store("k", 1, {"a": 1})
        memory.store("k", 2)
        read = memory.retrieve("k")
        assert (read["value"], read["metadata"]) == (2, {})

    def test_a_miss_is_a_success(self, memory: LTMBackend) -> None:
        read = memory.retrieve("absent", ["default"])
        assert read.items() >= {"success": True, "found": False, "value": ["default"]}.items()
        assert read["metadata"] is None
        assert memory.retrieve("absent")["value"] is None

    def test_delete(self, memory: LTMBackend) -> None:
        memory.store("k", 1)
        assert memory.delete("k") == {"success": True, "deleted": True, "key": "k"}
        assert memory.delete("k") == {"success": True, "deleted": False, "key": "k"}
        assert memory.retrieve("k")["found"] is False

    @pytest.mark.parametrize(
        ("arguments", "error_type"),
        [
            (("", 1), "validation_error"),
            ((5, 1), "validation_error"),
            (("k" * 1025, 1), "validation_error"),
            (("k\0", 1), "validation_error"),
            (("k", 1, "text"), "validation_error"),
            (("k", 1, {"a": object()}), "validation_error"),
            (("k", float("nan")), "serialization_error"),
            (("k", {"a": {1}}), "serialization_error"),
            (("k", {1: 2}), "serialization_error"),
            (("k", 1, {"ttl": 0}), "validation_error"),
            (("k", 1, {"ttl": -1}), "validation_error"),
            (("k", 1, {"ttl": "5"}), "validation_error"),
            (("k", 1, {"ttl": True}), "validation_error"),
            (("k", 1, {"expires_at": "soon"}), "validation_error"),
            (("k", 1, {"expires_at": "2030-01-01T00:00:00"}), "validation_error"),
            (("k", 1, {"expires_at": 2030}), "validation_error"),
            (("k", 1, {"expires_at": "2030-01-01T00:00:00Z", "ttl": -1}), "validation_error"),
        ],
    )
    def test_refusals_store_nothing(
        self, memory: LTMBackend, arguments: tuple[Any, ...], error_type: str
    ) -> None:
        refused = memory.store(*arguments)
        assert refused.keys() == {"success", "error", "error_type"}
        assert (refused["success"], refused["error_type"]) == (False, error_type)
        assert refused["error"]
        assert list(memory.iterate_all()) == []

    def test_reading_refuses_as_writing_does(self, memory: LTMBackend) -> None:
        for result in (memory.retrieve(""), memory.delete(""), memory.retrieve_batch([""])):
            assert (result["success"], result["error_type"]) == (False, "validation_error")

    def test_expiry_in_metadata(self, memory: LTMBackend) -> None:
        past, future = "2001-01-01T00:00:00+00:00", "2099-01-01T00:00:00+02:00"
        ends: dict[str, dict[str, Any]] = {
            "ttl": {"ttl": 0.02},
            "moment": {"expires_at": past},
            "both": {"ttl": 3600, "expires_at": past},  # expires_at wins, even if it is later
        }
        stays: dict[str, dict[str, Any]] = {
            "hour": {"ttl": 3600.5},
            "late": {"ttl": 0.02, "expires_at": future},
            "none": {"ttl": None, "expires_at": None},
        }
        for key, metadata in (ends | stays).items():
            assert memory.store(key, 1, metadata)["stored"] is True
        time.sleep(0.05)
        assert [key for key, _, _ in memory.iterate_all()] == list(stays)
        for key in ends:
            assert memory.retrieve(key)["found"] is False
        for key, metadata in stays.items():
            assert memory.retrieve(key)["metadata"] == metadata
        assert memory.search(limit=100)["total"] == len(stays)
        assert memory.store("ttl", 2)["created"] is True
        hour, late = memory.lake.entry("hour"), memory.lake.entry("late")
        assert hour is not None
        assert late is not None
        assert hour.expires_at == hour.created_at + timedelta(seconds=3600.5)
        assert late.expires_at == datetime.fromisoformat(future)

    def test_touch_and_keep_expiry(self, memory: LTMBackend) -> None:
        memory.store("a", 1, {"ttl": 1000})
        touched = memory.touch("a", ttl="2h")
        assert (touched["success"], touched["touched"], touched["key"]) == (True, True, "a")
        assert memory.store("a", 2, {"ttl": 10}, keep_expiry=True)["stored"]
        assert memory.lake.entry("a").expires_at.isoformat() == touched["expires_at"]  # type: ignore[union-attr]
        assert memory.retrieve("a")["value"] == 2
        with memory.transaction() as tx:
            tx.store("a", 3, keep_expiry=True)
        assert memory.lake.entry("a").expires_at.isoformat() == touched["expires_at"]  # type: ignore[union-attr]
        assert memory.touch("a")["expires_at"] is None
        missing = memory.touch("b", ttl=10)
        assert (missing["success"], missing["touched"]) == (True, False)
        assert memory.touch("a", ttl=-1)["error_type"] == "validation_error"
        assert memory.touch("", ttl=1)["error_type"] == "validation_error"

    def test_cleanup_expired(self, memory: LTMBackend) -> None:
        past = {"expires_at": "2001-01-01T00:00:00+00:00"}
        for number in range(5):
            memory.store(f"old{number}", number, past)
        memory.store("young", 1)
        done = memory.cleanup_expired(batch_size=2)
        assert done == {"success": True, "deleted_count": 5, "remaining_count": 0}
        assert memory.cleanup_expired()["deleted_count"] == 0
        assert memory.cleanup_expired(batch_size=0)["error_type"] == "validation_error"
        assert memory.retrieve("young")["found"] is True

    def test_search_for_words(self, memory: LTMBackend) -> None:
        memory.store("coffee", {"text": "The user likes strong coffee"}, {"kind": "fact"})
        memory.store("tea", "Tea is what the other user drinks", {"kind": "fact"})
        memory.store("rain", "It rained all day", {"kind": "note"})
        result = memory.search("coffee")
        assert result["success"] is True
        (hit,) = result["results"]
        assert hit.keys() == {"key", "value", "metadata", "score"}
        assert (hit["key"], hit["value"]) == ("coffee", {"text": "The user likes strong coffee"})
        assert hit["metadata"] == {"kind": "fact"}
        assert (result["count"], result["total"]) == (1, 1)
        assert memory.search("rain", metadata_filter={"kind": "fact"})["total"] == 0
        assert memory.search('"') == {"success": True, "results": [], "count": 0, "total": 0}

    def test_search_is_fresh(self, memory: LTMBackend) -> None:
        memory.store("k", "apples")
        assert memory.search("apples")["total"] == 1
        memory.store("k", "pears")
        assert memory.search("apples")["total"] == 0
        memory.delete("k")
        assert memory.search("pears")["total"] == 0

    def test_search_total_counts_before_the_limit(self, memory: LTMBackend) -> None:
        memory.store_batch([{"key": f"k{n:02}", "value": f"word {n}"} for n in range(25)])
        assert [hit["key"] for hit in memory.search(limit=3)["results"]] == ["k00", "k01", "k02"]
        for result in (memory.search(), memory.search("word")):
            assert (result["count"], result["total"], len(result["results"])) == (10, 25, 10)
        nothing = memory.search(limit=0)
        assert (nothing["results"], nothing["count"], nothing["total"]) == ([], 0, 25)
        assert memory.search(limit=-1)["error_type"] == "validation_error"

    @pytest.mark.parametrize(("metadata_filter", "keys"), _FILTERS)
    def test_filters(self, memory: LTMBackend, metadata_filter: dict[str, Any], keys: str) -> None:
        memory.store("a", 1, {"kind": "note", "n": 1})
        memory.store("b", 2, {"kind": "note", "n": 2, "deep": {"x": None}})
        memory.store("c", 3, {"kind": "fact", "n": 3.5})
        result = memory.search(metadata_filter=metadata_filter)
        assert "".join(hit["key"] for hit in result["results"]) == keys
        assert all(hit["score"] == 0 for hit in result["results"])

    def test_unknown_operators_are_refused(self, memory: LTMBackend) -> None:
        result = memory.search(metadata_filter={"a": {"$near": 1}})
        assert (result["success"], result["error_type"]) == (False, "validation_error")
        assert "$near" in result["error"]

    def test_iterate_all_streams_in_the_order_of_keys(self, memory: LTMBackend) -> None:
        memory.store("b", LARGE, {"n": 2})
        memory.store("a", [1], {"n": 1})
        memory.store("é", None)
        entries = memory.iterate_all()
        assert next(entries) == ("a", [1], {"n": 1})
        assert list(entries) == [("b", LARGE, {"n": 2}), ("é", None, {})]

    def test_threads(self, memory: LTMBackend) -> None:
        start = threading.Barrier(8)

        def work(thread: int) -> list[bool]:
            start.wait()
            done = []
            for number in range(25):
                done.append(memory.store(f"{thread}/{number}", [thread, number])["success"])
                done.append(memory.store("shared", [thread, number])["success"])
                done.append(memory.retrieve(f"{thread}/{number}")["value"] == [thread, number])
            with memory.transaction() as tx:
                tx.store(f"{thread}/in", thread)
                tx.delete(f"{thread}/0")
            batch = [{"key": f"{thread}/b{n}", "value": thread} for n in range(5)]
            done.append(memory.store_batch(batch)["stored_count"] == 5)
            return done

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(work, range(8)))
        assert all(all(done) for done in results)
        assert sum(1 for _ in memory.iterate_all()) == 8 * (24 + 1 + 5) + 1

    def test_after_close_calls_fail(self, tmp_path: Path) -> None:
        memory = self.make_backend(tmp_path)
        memory.store("k", 1)
        transaction = memory.transaction()
        transaction.store("k", 2)
        memory.close()
        memory.close()
        for result in (
            memory.store("k", 1),
            memory.retrieve("k"),
            memory.delete("k"),
            memory.search(),
            memory.store_batch([{"key": "k", "value": 1}]),
            memory.retrieve_batch(["k"]),
            memory.cleanup_expired(),
            transaction.commit(),
        ):
            assert result["success"] is False, result
            assert result["error"]
            assert result["error_type"]

    def test_results_are_plain(self, memory: LTMBackend) -> None:
        import json

        memory.store("k", {"a": 1})
        results = [memory.store("k", {"a": 1}), memory.retrieve("k"), memory.search("a")]
        results += [memory.retrieve_batch(["k"]), memory.store_batch(some_wrong())]
        for result in results:
            assert type(result) is dict
            assert json.loads(json.dumps(result)) == result
