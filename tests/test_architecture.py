"""The layers of the package, its files without circles, and what a first store may load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from lakebed.lake.history.snapshots import LakeView
from lakebed.lake.lake import Scope

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
    assert "6 kept, 0 broken" in ran.stdout


def test_the_design_names_the_rooms_of_a_lake_in_their_order() -> None:
    """The table of docs/design and the layers of pyproject.toml are one list."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))
    (layers,) = (
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["name"] == "The rooms of the lake"
    )
    page = (PROJECT / "docs" / "design" / "index.md").read_text("utf-8")
    table = page.partition("the top first |")[2].partition("\n\n")[0].splitlines()[2:]
    named = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table]
    assert named == [layer.split(" | ") for layer in layers]


def test_no_part_of_a_lake_declares_what_another_part_must_supply() -> None:
    declared = [
        f"{part.__name__}.{name}"
        for part in {*Scope.__mro__, *LakeView.__mro__}
        if part.__module__.startswith("lakebed.")
        for name, member in vars(part).items()
        if getattr(member, "__isabstractmethod__", False)
    ]
    assert declared == []


def modules(folder: Path) -> dict[str, Path]:
    """The files of a source folder by the names under which they are imported."""
    found = {}
    for path in folder.rglob("*.py"):
        *parts, last = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts if last == "__init__" else [*parts, last])] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """What a file imports of `known`, for types and inside functions as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module`, or a name out of the module itself.
            full = {f"{node.module}.{name.name}" for name in node.names}
            found |= full & known or {node.module}
    return found & known


def check_circles(folder: Path) -> None:
    files = modules(folder)
    order = TopologicalSorter({name: imports(path, {*files}) for name, path in files.items()})
    order.prepare()  # raises CycleError


def test_no_circle_of_files() -> None:
    check_circles(PROJECT / "src")


@pytest.mark.parametrize(
    "back",
    [
        "from package.a import x",
        "def call():\n    from package import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import package.a",
    ],
)
def test_a_circle_is_found(tmp_path: Path, back: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text("from package import b\nx = 1\n")
    (tmp_path / "package" / "b.py").write_text(back)
    with pytest.raises(CycleError):
        check_circles(tmp_path)


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


def test_fixtures_of_servers_are_not_imported(request: pytest.FixtureRequest) -> None:
    """`tests/conftest.py` makes them known to all. One that a module imports is another one for
    pytest, which starts its server again."""
    fixture = type(pytest.fixture(lambda: None))
    tests = PROJECT / "tests"
    (conftest,) = (
        module
        for module in request.config.pluginmanager.get_plugins()
        if getattr(module, "__file__", None) == str(tests / "conftest.py")
    )
    assert isinstance(vars(import_module("tests.servers"))["postgres_18"], fixture)
    again = [
        f"{path.relative_to(tests)}: {name.name}"
        for path in tests.rglob("*.py")
        if "from tests." in (text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module
        for plugin in conftest.pytest_plugins
        if f"{node.module}.".startswith(f"{plugin}.") and path.parent.name != "servers"
        for name in node.names
        if isinstance(getattr(import_module(node.module), name.name), fixture)
    ]
    assert not again
