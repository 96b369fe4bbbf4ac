"""Compaction: inline values and worn packs move to new packs, and every value stays readable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

import lakebed
from lakebed.lake.lake import Lake
from lakebed.objects.local import LocalStore
from lakebed.testing import FakeClock, open_lake
from tests.lake.upkeep.contents import batch, contents_of, files


class TestCompact:
    def test_inline_values_move_to_packs_and_keep_their_versions(self, lake: Lake) -> None:
        values = batch(lake, "i", 50, "inline " * 11)
        before = {entry.key: entry.version for entry in lake.list()}
        report = lake.compact()
        assert (report.flushed, report.packs_written) == (50, 1)
        assert {entry.key: entry.version for entry in lake.list()} == before
        assert dict(lake.retrieve_batch(values)) == values
        assert lake.stats().inline_objects == 0
        assert not lake.verify().problems

    def test_small_values_and_young_ones_stay(self, lake: Lake, clock: FakeClock) -> None:
        lake["small"] = "x"
        lake["young"] = "y" * 90
        clock.advance(5)
        assert lake.compact(older_than=10).flushed == 0
        assert lake.compact(older_than=5).flushed == 1
        assert lake.entry("small").inlined  # type: ignore[union-attr]

    def test_worn_packs_are_rewritten(self, lake: Lake) -> None:
        values = batch(lake, "p", 20)
        for key in list(values)[:15]:
            del lake[key]
        lake.collect()
        report = lake.compact()
        assert (report.repacked, report.packs_given_up) == (5, 1)
        lake.collect(grace=0)
        assert len(files(lake)) == 1
        assert dict(lake.items()) == dict(list(values.items())[15:])

    def test_small_packs_are_merged(self, lake: Lake) -> None:
        values = batch(lake, "p", 5) | batch(lake, "q", 5)
        assert lake.stats().packs == 2
        lake.compact()
        assert lake.stats().packs == 1
        assert lake.compact().packs_written == 0
        assert dict(lake.items()) == values

    def test_max_bytes_bounds_a_run(self, lake: Lake) -> None:
        batch(lake, "i", 50, "inline " * 11)
        report = lake.compact(max_bytes=1000)
        assert 0 < report.moved_bytes <= 1000
        assert report.flushed < 50

    def test_a_reader_finds_what_has_moved(self, lake: Lake) -> None:
        values = batch(lake, "p", 4)
        entries = list(lake.list())
        batch(lake, "q", 4)
        lake.compact()
        lake.collect(grace=0)
        assert [entry.value for entry in entries] == list(values.values())

    @pytest.mark.parametrize("packed", [False, True], ids=["inline", "packed"])
    def test_a_number_that_another_object_has_by_the_commit(
        self, tmp_path: Path, packed: bool
    ) -> None:
        """SQLite gives the number of the last object again once it is gone, and a pack's as well:
        the object that has it now must not be sent to the bytes of the one that had it."""
        meanwhile: list[Callable[[], object]] = []

        class Watched(LocalStore):
            @contextmanager
            def open_write(self, path: str) -> Iterator[BinaryIO]:
                with super().open_write(path) as file:
                    while meanwhile:
                        meanwhile.pop()()
                    yield file

        with (
            open_lake(tmp_path, objects=Watched(tmp_path), inline_threshold=100) as lake,
            lakebed.open(tmp_path) as other,
        ):
            text = "packed " * 50 if packed else "inline " * 11
            batch(lake, "old", 3, text)
            del lake["old/0000"], lake["old/0001"]
            lake.collect()

            def replace() -> None:
                del other["old/0002"]
                # What lies in the catalog has gone with its last name.
                assert other.collect(grace=0).objects == (1 if packed else 0)
                batch(other, "new", 3, text)

            meanwhile.append(replace)
            lake.compact()
            assert not meanwhile
            assert not lake.verify().problems
            assert dict(lake.items()) == {f"new/000{n}": f"{text}new{n}" for n in range(3)}
            for path in files(lake):
                assert b"old" not in b"".join(contents_of(lake, path))
