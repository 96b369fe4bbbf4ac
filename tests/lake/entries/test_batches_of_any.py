"""Batches of any values, and of any number of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakebed.testing import open_lake
from lakebed.testing.machine.strategies import json_values
from lakebed.testing.model import identity
from tests.lake.entries.test_batches import entries
from tests.lake.processes import run_alone


@settings(max_examples=max(20, settings.default.max_examples // 10))  # each makes three lakes
@given(values=st.lists(json_values | st.binary(max_size=200), min_size=1, max_size=20))
def test_through_inline_object_and_pack(
    tmp_path_factory: pytest.TempPathFactory, values: list[Any]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    batch = entries({f"k{number:02}": value for number, value in enumerate(values)})
    with (
        open_lake() as inline,
        open_lake(folder / "single", inline_threshold=0) as single,
        open_lake(folder / "pack", inline_threshold=0) as packed,
    ):
        inline.store_batch(batch)
        packed.store_batch(batch)
        for entry in batch:
            single.store(**entry)
        for lake in (inline, single, packed):
            found = lake.retrieve_batch([entry["key"] for entry in batch])
            for number, value in enumerate(values):
                assert identity(found[f"k{number:02}"]) == identity(value)
                assert identity(lake[f"k{number:02}"]) == identity(value)
        hashes = [[e.content_hash for e in lake.list()] for lake in (inline, single, packed)]
        assert hashes[0] == hashes[1] == hashes[2]
        assert packed.stats().packs == any(value != b"" for value in values)
        assert single.stats().packs == 0


@pytest.mark.parametrize("size", [20, 500])
def test_memory_is_bounded(
    tmp_path: Path, soak: bool, size: int, record_property: Callable[[str, object], None]
) -> None:
    count = (1_000_000 if soak else 100_000) if size == 20 else (200_000 if soak else 40_000)
    code = f"""
import lakebed
with lakebed.open(folder, inline_threshold=100) as lake:
    report = lake.store_batch(
        {{"key": f"key/{{n:07}}", "value": f"{{n}}".ljust({size}), "metadata": {{"n": n}}}}
        for n in range({count})
    )
    assert report.created == {count}, report
# Not ru_maxrss: it takes over what the parent had in memory when it started this process.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    peak = int(run_alone(code, tmp_path / "memory", timeout=1200)) / 1024
    where = "the catalog" if size == 20 else "packs"
    record_property(f"peak memory of a batch of {count:,} into {where}", f"{peak:.0f} MiB")
    assert peak < 400
