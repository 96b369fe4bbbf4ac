"""The layers of the package, and what a first store may load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]
HEAVY = {
    "duckdb",
    "hypothesis",
    "ibis",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "rich",
    "sqlalchemy",
    "typer",
    "yaml",
}


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, text=True, capture_output=True, check=False
    )


def test_imports_point_down_only() -> None:
    ran = python(
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
        cwd=PROJECT,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 kept, 0 broken" in ran.stdout


def test_import_and_first_store_load_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, lakebed\n"
        "with lakebed.open('lake') as lake:\n"
        "    lake.store('a', {'b': 1})\n"
        "    assert lake.retrieve('a') == {'b': 1}\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    ran = python("-c", code, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert "sqlite3" in loaded
    assert not loaded & HEAVY
