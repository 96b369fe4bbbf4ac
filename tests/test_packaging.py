"""Lakebed as its users get it: wheel, source distribution and editable install, in fresh venvs."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
STORE_AND_RETRIEVE = """
from pathlib import Path
import lakebed
print(Path(lakebed.__file__).parent)
with lakebed.open(":memory:") as lake:
    lake.store("a", 1)
    assert lake.retrieve("a") == 1
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command as a user's shell would, without the settings of the test run itself."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    ran = subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project's own files, so that building leaves nothing in the tree."""
    copy = tmp_path_factory.mktemp("checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=PROJECT)
    for name in filter(None, listed.split("\0")):
        source, target = PROJECT / name, copy / name
        if source.is_file():  # a file removed but not yet committed is still listed
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return copy


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with one wheel, built from the source distribution beside it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout, cwd=out)
    return out


def fresh_venv(folder: Path) -> Path:
    """A venv's python that has the dependencies of this test run, but not its Lakebed."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    outer = sysconfig.get_path("purelib")
    # Only the folder itself is added, not the .pth files in it that name this checkout.
    Path(site.strip(), "dependencies.pth").write_text(outer + "\n")
    return python


def sql_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.sql")}


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_wheel_holds_code_types_and_sql_and_nothing_else(built: Path, checkout: Path) -> None:
    names = set(zipfile.ZipFile(only(built, "*.whl")).namelist())
    sql = sql_files(checkout / "catalog_sql")
    assert sql
    assert {f"lakebed/catalog_sql/{name}" for name in sql} <= names
    assert {"lakebed/__init__.py", "lakebed/py.typed"} <= names
    packages = {name.split("/")[0] for name in names}
    assert packages == {"lakebed", only(built, "*.whl").name.split("-py3")[0] + ".dist-info"}
    assert not {name for name in names if "/tests/" in name}


def test_sdist_holds_what_a_developer_needs(built: Path, checkout: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "tests/test_packaging.py"} <= names
    assert {f"catalog_sql/{name}" for name in sql_files(checkout / "catalog_sql")} <= names


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_installed_lakebed_stores_and_retrieves(
    kind: str, built: Path, checkout: Path, tmp_path: Path
) -> None:
    arguments = {
        "wheel": [only(built, "*.whl")],
        "sdist": [only(built, "*.tar.gz")],
        "editable": ["--editable", checkout],
    }[kind]
    python = fresh_venv(tmp_path / "venv")
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    run(python, "-m", "pip", "install", "--quiet", *offline, *arguments, cwd=tmp_path)

    where = Path(run(python, "-c", STORE_AND_RETRIEVE, cwd=tmp_path).strip())

    expected = checkout / "src" if kind == "editable" else tmp_path / "venv"
    assert where.is_relative_to(expected)
    installed = only((tmp_path / "venv").resolve(), "lib/python3*/site-packages")
    shipped = sql_files(installed / "lakebed" / "catalog_sql")
    # An editable install reads the checkout's SQL; a copy beside it would grow stale.
    assert shipped == (set() if kind == "editable" else sql_files(checkout / "catalog_sql"))
