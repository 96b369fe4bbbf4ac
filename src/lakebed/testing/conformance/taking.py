"""Taking entries from a queue."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import ClassVar

import pytest

from lakebed.errors import ConflictError, ValidationError
from lakebed.lake.lake import Lake
from lakebed.testing.clock import FakeClock
from lakebed.testing.conformance.base import Conformance, contents, needs

LARGE = "x" * 10_000


class Taking(Conformance):
    """`take()`: renames the first entry of a range."""

    FEATURE: ClassVar[str] = "taking"

    def test_the_first_is_taken(self, lake: Lake) -> None:
        lake.store("queue/2", LARGE, {"n": 2}, ttl=3600)
        lake.store("queue/1", [1], {"n": 1})
        lake.store("queue", 0)
        lake.store("queue0", 0)
        before = lake.entry("queue/2")
        first, second = lake.take("queue/", "held/a/"), lake.take("queue/", "held/a/")
        assert first is not None
        assert second is not None
        assert before is not None
        assert (first.key, first.value, first.metadata) == ("held/a/1", [1], {"n": 1})
        assert (second.key, second.value) == ("held/a/2", LARGE)
        assert (second.expires_at, second.created_at) == (before.expires_at, before.created_at)
        assert second.version > first.version > before.version
        assert lake.take("queue/", "held/a/") is None
        assert list(lake) == ["held/a/1", "held/a/2", "queue", "queue0"]
        stored = lake.entry("held/a/2")
        assert stored is not None
        assert dict(stored) == dict(second)

    def test_what_has_expired_is_not_taken(self, lake: Lake, clock: FakeClock) -> None:
        lake.store("queue/1", 1, ttl=60)
        lake.store("queue/2", 2)
        clock.advance(timedelta(seconds=61))
        taken = lake.take("queue/", "held/")
        assert taken is not None
        assert taken.key == "held/2"
        assert lake.take("queue/", "held/") is None

    def test_a_key_that_is_there_is_not_replaced(self, lake: Lake) -> None:
        lake.store("queue/1", 1)
        lake.store("held/1", 0)
        with pytest.raises(ConflictError, match="held/1"):
            lake.take("queue/", "held/")
        assert contents(lake) == {"queue/1": (1, {}, None), "held/1": (0, {}, None)}

    def test_arguments_are_checked(self, lake: Lake) -> None:
        lake.store("q/" + "k" * 1022, 1)
        for arguments in (("", "b"), ("a", ""), ("a", "ab"), ("a", "a"), (1, "b"), ("a", None)):
            with pytest.raises(ValidationError):
                lake.take(*arguments)
        with pytest.raises((ValidationError, ConflictError), match="1024"):
            lake.take("q/", "longer/")
        assert len(lake) == 1

    @needs("versions")
    def test_snapshots_see_it_where_it_was(self, lake: Lake) -> None:
        lake.store("queue/1", "pelican", {"n": 1})
        lake.create_snapshot("before")
        lake.take("queue/", "held/")
        lake.create_snapshot("after")
        assert list(lake.at("before")) == ["queue/1"]
        assert list(lake.at("after")) == ["held/1"]
        diff = lake.diff("before", "after")
        assert [entry.key for entry in diff.added] == ["held/1"]
        assert [entry.key for entry in diff.removed] == ["queue/1"]
        for where, key in ((lake, "held/1"), (lake.at("before"), "queue/1")):
            assert [hit.key for hit in where.search("pelican")] == [key]
            listed = where.list(metadata_filter={"n": 1})
            assert [entry.key for entry in listed] == [key]
        lake.restore("before")
        assert list(lake) == ["queue/1"]

    def test_of_many_each_takes_another(self, lake: Lake) -> None:
        lake.store_batch({"key": f"queue/{n:03}", "value": n} for n in range(120))
        start = threading.Barrier(6)

        def work(number: int) -> list[str]:
            taken = []
            start.wait()
            while entry := lake.take("queue/", f"held/{number}/"):
                taken.append(entry.key.rpartition("/")[2])
            return taken

        with ThreadPoolExecutor(6) as pool:
            found = [key for taken in pool.map(work, range(6)) for key in taken]
        assert sorted(found) == [f"{n:03}" for n in range(120)]
        assert len(lake) == 120
