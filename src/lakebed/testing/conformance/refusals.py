"""Calls that must be refused. A refused call changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

from lakebed.errors import ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.conformance.base import Conformance, contents

KEYS: list[Any] = ["", None, 5, b"a", "\x00", "a\x00b", "\ud800", "a" * 1025, "é" * 513]

STORES: list[tuple[dict[str, Any], str]] = [
    ({"ttl": 0}, "ttl"),
    ({"ttl": -1}, "ttl"),
    ({"ttl": float("nan")}, "ttl"),
    ({"ttl": float("inf")}, "ttl"),
    ({"ttl": 1e12}, "ttl"),
    ({"ttl": True}, "ttl"),
    ({"ttl": "60"}, "ttl"),
    ({"ttl": timedelta(0)}, "ttl"),
    ({"ttl": timedelta(days=-1)}, "ttl"),
    ({"expires_at": datetime(2040, 1, 1)}, "time zone"),  # noqa: DTZ001 - that is the point
    ({"expires_at": "2040-01-01"}, "expires_at"),
    ({"expires_at": 2e9}, "expires_at"),
    ({"expires_at": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=9)))}, "year"),
    ({"expires_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=9)))}, "year"),
    ({"ttl": 60, "expires_at": datetime(2040, 1, 1, tzinfo=UTC)}, "cannot be combined"),
    ({"if_match": "abc"}, "if_match"),
    ({"if_match": "sha256:" + "0" * 63}, "if_match"),
    ({"if_match": "sha256:" + "G" * 64}, "if_match"),
    ({"if_match": b"0" * 32}, "if_match"),
    ({"if_absent": "no"}, "if_absent must be True or False, got str"),
    ({"if_absent": None}, "if_absent must be True or False, got NoneType"),
]


class Refusals(Conformance):
    """A malformed argument raises one clear error, and nothing is written."""

    FEATURE: ClassVar[str] = "refusals"

    def refuses(self, lake: Lake, call: Callable[[], object], message: str) -> None:
        """Check that the call raises ValidationError and changes nothing."""
        lake.store("a", 1, {"x": 1})
        before, stats = contents(lake), lake.stats()
        with pytest.raises(ValidationError, match=message):
            call()
        assert contents(lake) == before
        assert lake.stats() == stats

    @pytest.mark.parametrize("key", KEYS, ids=lambda key: ascii(key)[:12])
    def test_keys(self, lake: Lake, key: Any) -> None:
        self.refuses(lake, lambda: lake.store(key, 2), "key")
        self.refuses(lake, lambda: lake.retrieve(key), "key")
        self.refuses(lake, lambda: lake.retrieve(key, None), "key")
        self.refuses(lake, lambda: lake.entry(key), "key")
        self.refuses(lake, lambda: lake.delete(key), "key")
        self.refuses(lake, lambda: lake.list(after=key or 0), "after")  # type: ignore[arg-type]
        assert key not in lake  # `in` is False for an object that cannot be a key

    @pytest.mark.parametrize(("options", "message"), STORES, ids=repr)
    def test_store(self, lake: Lake, options: dict[str, Any], message: str) -> None:
        self.refuses(lake, lambda: lake.store("a", 2, **options), message)
        self.refuses(lake, lambda: lake.store("b", 2, **options), message)

    @pytest.mark.parametrize("limit", [-1, 1.5, "1", True])
    def test_limits(self, lake: Lake, limit: Any) -> None:
        self.refuses(lake, lambda: lake.list(limit=limit), "limit")
        if limit != 1 or limit is True:
            self.refuses(lake, lambda: lake.cleanup_expired(batch_size=limit), "batch_size")

    def test_batch_size_zero(self, lake: Lake) -> None:
        self.refuses(lake, lambda: lake.cleanup_expired(batch_size=0), "batch_size")

    @pytest.mark.parametrize("prefix", [None, 5, b"a", "\x00", "\ud800", "a" * 1025])
    def test_prefixes(self, lake: Lake, prefix: Any) -> None:
        self.refuses(lake, lambda: lake.list(prefix), "prefix")

    def test_unknown_keywords(self, lake: Lake) -> None:
        calls: list[Callable[..., Any]] = [lake.store, lake.retrieve, lake.list, lake.delete]
        for call in calls:
            with pytest.raises(TypeError, match="nonsense"):
                call("a", nonsense=1)
        assert len(lake) == 0
