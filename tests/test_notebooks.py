"""Every notebook runs from beginning to end, and is saved with what it gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

PROJECT = Path(__file__).parents[1]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
GUIDE = PROJECT / "docs" / "guides" / "notebooks.md"


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> set[str]:
    """What a cell shows: types of data, names of streams, "error"."""
    found = set()
    for output in cell.outputs:
        if output.output_type == "stream":
            found.add(output.name)
        elif output.output_type == "error":
            found.add("error")
        else:
            found |= set(output.data)
    return found


# The kernel's client leaves its sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_is_saved(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    saved = nbformat.read(path, as_version=4)
    run = nbformat.read(path, as_version=4)
    for cell in code_cells(run):
        cell.outputs = []
    client = NotebookClient(
        run, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    for before, now in zip(code_cells(saved), code_cells(run), strict=True):
        assert before.execution_count, f"saved without having been run: {before.source}"
        assert "stderr" not in kinds(now), now.outputs
        assert kinds(before) == kinds(now), before.source
    assert [path.name for path in tmp_path.iterdir() if path.name.islower()] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_small_and_told_of(path: Path) -> None:
    assert len(path.read_text("utf-8")) < 300_000
    assert f"notebooks/{path.name}" in GUIDE.read_text("utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_shows_no_machine_and_no_warning(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    for cell in code_cells(notebook):
        shown = json.dumps([cell.source, *cell.outputs])
        assert not re.search(r"/(?:work|tmp|home|root|Users|private|opt)/|[Ww]arn", shown), (
            cell.source
        )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_what_is_public(path: Path) -> None:
    """Of Lakebed: the package, and the modules of the reference."""
    pages = PROJECT.glob("docs/reference/*.md")
    text = "\n".join(page.read_text("utf-8") for page in pages)
    public = set(re.findall(r"^::: ([\w.]+)", text, re.MULTILINE))
    for cell in code_cells(nbformat.read(path, as_version=4)):
        for name in re.findall(r"^(?:from|import) (lakebed[\w.]*)", cell.source, re.MULTILINE):
            assert name == "lakebed" or (name in public and name != "lakebed.testing"), name


def test_there_are_plots() -> None:
    plotted = [path.stem for path in NOTEBOOKS if '"image/png"' in path.read_text("utf-8")]
    assert len(plotted) >= len(NOTEBOOKS) - 1


def test_there_are_notebooks() -> None:
    assert len(NOTEBOOKS) >= 4
