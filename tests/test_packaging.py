"""Lakebed as its users get it: wheel, source distribution and editable install, in fresh venvs."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.packages import PROJECT, fresh_venv, install, package, purelib, run, user_venv
from tests.sharing import made_once

STORE_AND_RETRIEVE = """
from pathlib import Path
import lakebed
print(Path(lakebed.__file__).parent)
with lakebed.open(":memory:") as lake:
    lake.store("a", 1)
    assert lake.retrieve("a") == 1
"""
CORE = """
import tempfile
from importlib.util import find_spec
import lakebed, pyarrow as pa
from lakebed.errors import DependencyMissingError

assert not [name for name in ("ibis", "pandas", "polars", "psycopg", "s3fs") if find_spec(name)]
with tempfile.TemporaryDirectory() as folder, lakebed.open(folder + "/lake") as lake:
    lake.store("t", pa.table({"a": [1, 2]}))
    lake.store("x", {"tea": "oolong"}, {"kind": "fact"}, ttl=60)
    lake.store_batch({"key": f"k/{n}", "value": {"n": n, "text": "w " * 4000}} for n in range(50))
    lake.create_snapshot("s")
    lake.store("x", {"tea": "green"})
    assert lake.sql("SELECT count(*) FROM documents").fetchall() == [(51,)]
    rows = lake.sql("SELECT key, updated_at, value->>'tea' AS tea FROM documents WHERE key = 'x'")
    assert rows.fetchall()[0][2] == "green"
    assert rows.arrow().num_rows == 1
    assert lake.search("green").total == 1
    assert lake.diff("s").changed[0].details()
    lake.publish(folder + "/published")
    lake.maintain()
    assert not lake.verify().problems
    for call, extra in (
        (lake.ibis, "ibis"), (lambda: lake.table("t"), "ibis"), (lambda: lake.tables(), "ibis"),
        (rows.df, "pandas"), (lambda: lake.retrieve("t", as_="pandas"), "pandas"),
    ):
        try:
            call()
        except DependencyMissingError as error:
            assert f"pip install 'lakebed[{extra}]'" in str(error), error
        else:
            raise AssertionError(extra)
"""


def sql_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.sql")}


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_wheel_holds_code_types_and_sql_and_nothing_else(built: Path, checkout: Path) -> None:
    names = set(zipfile.ZipFile(package(built, "wheel")).namelist())
    sql = sql_files(checkout / "catalog_sql")
    assert sql
    assert {f"lakebed/catalog_sql/{name}" for name in sql} <= names
    assert {"lakebed/__init__.py", "lakebed/py.typed"} <= names
    packages = {name.split("/")[0] for name in names}
    assert packages == {"lakebed", package(built, "wheel").name.split("-py3")[0] + ".dist-info"}
    assert not {name for name in names if "/tests/" in name}


def test_sdist_holds_what_a_developer_needs(built: Path, checkout: Path) -> None:
    with tarfile.open(package(built, "sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "tests/test_packaging.py"} <= names
    assert {f"catalog_sql/{name}" for name in sql_files(checkout / "catalog_sql")} <= names


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_installed_lakebed_stores_and_retrieves(
    kind: str, built: Path, checkout: Path, tmp_path: Path
) -> None:
    arguments = {
        "wheel": [package(built, "wheel")],
        "sdist": [package(built, "sdist")],
        "editable": ["--editable", checkout],
    }[kind]
    python = fresh_venv(tmp_path / "venv")
    install(python, *arguments)

    where = Path(run(python, "-c", STORE_AND_RETRIEVE, cwd=tmp_path).strip())

    expected = checkout / "src" if kind == "editable" else tmp_path / "venv"
    assert where.is_relative_to(expected)
    installed = only((tmp_path / "venv").resolve(), "lib/python3*/site-packages")
    shipped = sql_files(installed / "lakebed" / "catalog_sql")
    # An editable install reads the checkout's SQL; a copy beside it would grow stale.
    assert shipped == (set() if kind == "editable" else sql_files(checkout / "catalog_sql"))


def test_the_core_works_without_any_extra(built: Path, tmp_path: Path) -> None:
    """With the distributions that it names itself, and theirs, and nothing else."""
    python = user_venv(tmp_path / "venv", package(built, "wheel"))
    run(python, "-c", CORE, cwd=tmp_path)
    run(python, "-c", "from lakebed.cli import main; main()", "--version", cwd=tmp_path)


@pytest.fixture(scope="session")
def duckdb_2(
    tmp_path_factory: pytest.TempPathFactory, require_server: Callable[[str, str], NoReturn]
) -> Path:
    """A folder with the newest DuckDB 2; the environment of the tests has 1.5, for Ibis."""

    def fetch(folder: Path) -> None:
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder)
        got = subprocess.run(
            (*pip, "duckdb>=2,<3"), text=True, capture_output=True, check=False, timeout=300
        )
        if got.returncode:
            require_server("DuckDB 2", got.stderr)

    return made_once(tmp_path_factory, "duckdb-2", fetch)


def test_the_core_works_with_duckdb_2(built: Path, tmp_path: Path, duckdb_2: Path) -> None:
    python = user_venv(tmp_path / "venv", package(built, "wheel"))
    site = purelib(python)
    for linked in list(site.glob("*duckdb*")):
        linked.unlink()
    for got in duckdb_2.iterdir():
        (site / got.name).symlink_to(got)
    core = "import duckdb; assert duckdb.__version__.startswith('2.')\n" + CORE
    run(python, "-c", core, cwd=tmp_path)


def test_duckdb_2_judges_queries_alike(duckdb_2: Path, soak: bool) -> None:
    """What is refused with DuckDB 1.5 is refused with 2, and constants have the same values."""
    suites = ["test_statement.py", "test_trees.py"]
    if soak:
        suites += [
            "test_adversary.py", "test_answers.py", "test_columns.py", "test_damage.py",
            "test_limits.py", "test_pushing.py", "test_query_delta.py", "test_query_kept.py",
            "test_search_function.py", "test_session.py", "test_value_filter.py",
        ]  # fmt: skip
    paths = os.pathsep.join(map(str, (duckdb_2, PROJECT / "src", PROJECT)))
    env = {**os.environ, "PYTHONPATH": paths, "LAKEBED_SOAK": "0"}
    command = (
        *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
        *("-k", "not ibis", *(f"tests/lake/sql/{name}" for name in suites)),
    )
    ran = subprocess.run(command, cwd=PROJECT, env=env, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
