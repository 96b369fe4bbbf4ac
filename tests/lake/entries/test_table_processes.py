"""Tables in separate processes: memory, kills, a full disk, and the libraries that are loaded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import lakebed
from tests.lake.entries.objects import files


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, whose temporary files go to `folder`/tmp."""
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        cwd=folder,
        env=os.environ | {"TMPDIR": str(folder / "tmp")},
        text=True,
        capture_output=True,
        check=False,
    )


STREAM = """
import lakebed, numpy as np, pyarrow as pa, resource

def peak():  # not ru_maxrss, which begins with the parent's
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

def batches(total, rows=100_000, columns=4):
    noise = np.random.default_rng(1)
    for _ in range(total // (rows * columns * 8)):
        yield pa.record_batch({f"c{n}": noise.integers(0, 1 << 16, rows) for n in range(columns)})

def reader(total, **shape):
    schema = pa.schema({f"c{n}": pa.int64() for n in range(shape.get("columns", 4))})
    return pa.RecordBatchReader.from_batches(schema, batches(total, **shape))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("total", "rows", "columns"),
    [(400 << 20, 4_000, 64), (400 << 20, 500_000, 4), (40 << 20, 100, 4)],
)
def test_memory_is_bounded(
    total: int, rows: int, columns: int, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    """Any number of rows pass through the 100 MiB that the documentation states."""
    ran = run(
        STREAM
        + f"""
lake = lakebed.open("lake")
lake["warm"] = reader(8 << 20)
before = peak()
entry = lake.store("t", reader({total}, rows={rows}, columns={columns}))
print(entry.byte_size, peak() - before)
""",
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    size, grown = map(int, ran.stdout.split())
    shown = f"{total >> 20} MiB of tables, {columns} columns, {rows} rows a batch"
    record_property(f"memory that {shown} took on their way, in MiB", grown >> 20)
    assert size > total // 10
    assert grown < 100 << 20
    assert list((tmp_path / "tmp").iterdir()) == []


def test_killed_in_the_middle(tmp_path: Path) -> None:
    ran = run(
        STREAM
        + """
import os, signal
lake = lakebed.open("lake")
lake["t"] = "before"

def killed():
    yield from batches(60_000_000)
    os.kill(os.getpid(), signal.SIGKILL)

lake["t"] = pa.RecordBatchReader.from_batches(reader(0).schema, killed())
""",
        tmp_path,
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert list((tmp_path / "tmp").iterdir()) == files(tmp_path / "lake") == []
    with lakebed.open(tmp_path / "lake") as lake:
        assert lake["t"] == "before"


def test_no_room_for_the_temporary_file(tmp_path: Path) -> None:
    ran = run(
        STREAM
        + """
lake = lakebed.open("lake")
lake["t"] = "before"
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, hard))
try:
    lake["t"] = reader(100_000_000)
except lakebed.errors.StorageError as error:
    print(error)
assert lake["t"] == "before"
lake["t"] = reader(10_000_000)
""",
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert "cannot write a temporary file in" in ran.stdout
    assert "File too large" in ran.stdout
    assert list((tmp_path / "tmp").iterdir()) == []


def test_other_values_load_no_library(tmp_path: Path) -> None:
    ran = run(
        """
import lakebed, sys
with lakebed.open("lake") as lake:
    lake["a"] = {"x": [1, None, 2.5]}
    lake["b"] = b"y" * 10_000
    lake["c"] = "z" * 10_000
    with lake.transaction() as tx:
        tx.store("d", [])
    assert lake["a"] and lake.retrieve("b") and not lake.get("absent")
print(*{"pyarrow", "pandas", "polars", "numpy", "duckdb", "ibis"} & set(sys.modules))
""",
        tmp_path,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr


def test_polars_alone_brings_no_pandas(tmp_path: Path) -> None:
    ran = run(
        """
import lakebed, sys
import polars as pl
with lakebed.open("lake") as lake:
    lake["t"] = pl.DataFrame({"a": [1]})
    assert lake.retrieve("t", as_="polars").height == 1
print(*{"pandas", "duckdb", "ibis"} & set(sys.modules))
""",
        tmp_path,
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr
