"""What `import lakebed` and a first store cost: they load no heavy module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

STORE = """
import sys, lakebed
with lakebed.open(sys.argv[1]) as lake:
    lake.store("small", {"a": 1}, {"b": 2}, ttl=60)
    lake.store("large", "x" * 100_000)
    assert lake["small"] == {"a": 1}
    assert lake["large"] == "x" * 100_000
"""
HEAVY = {
    "asyncio",
    "concurrent",
    "duckdb",
    "email",
    "fsspec",
    "hypothesis",
    "ibis",
    "multiprocessing",
    "numpy",
    "pandas",
    "polars",
    "psycopg",
    "pyarrow",
    "pydantic",
    "pytest",
    "rich",
    "sqlalchemy",
    "sqlglot",
    "tenacity",
    "typer",
    "yaml",
}


def run(code: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, check=False, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_first_store_loads_nothing_heavy(tmp_path: Path) -> None:
    printed = run(STORE + "print(*{name.partition('.')[0] for name in sys.modules})", tmp_path)
    loaded = set(printed.split())
    assert {"lakebed", "sqlite3"} <= loaded
    assert loaded & HEAVY == set()


def test_a_small_store_does_not_load_what_only_large_ones_need(tmp_path: Path) -> None:
    store = "lakebed.open(sys.argv[1]).store('small', {'a': [1, None]}, {'b': 'c'})"
    loaded = set(run(f"import sys, lakebed; {store}; print(*sys.modules)", tmp_path).split())
    assert "lakebed" in loaded
    assert loaded & {"dataclasses", "inspect", "orjson", "pathlib", "urllib.parse", "uuid"} == set()


@pytest.mark.parametrize(("repeated", "arrow"), [(50, set()), (130, {"pyarrow"})])
def test_a_first_search_does_not_load_pandas(
    tmp_path: Path, repeated: int, arrow: set[str]
) -> None:
    """Arrow does for some of its calls, where it is installed: half a second. Little
    text is split without Arrow, which takes a sixth of that to load."""
    search = f"""
import sys, lakebed
with lakebed.open(sys.argv[1]) as lake:
    lake.store_batch(
        {{"key": f"k{{n}}", "value": f"green tea {{n}} " * {repeated}}} for n in range(8000)
    )
    assert lake.search("tea").total == 8000
print(*sys.modules)
"""
    loaded = set(run(search, tmp_path).split())
    assert loaded & {"pyarrow", "pandas"} == arrow
