"""Every Python and shell block of the README and the documentation runs.

The blocks of a page run in order, in one folder and one Python namespace. A block that cannot run
here stands under a comment that says why: `<!-- not run: needs an AWS account -->`.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.example import SybilFailure
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from tests.servers import PostgresServer, postgres_18

__all__ = ["postgres_18"]

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]
LEXER = RawFencedCodeBlockLexer(re.compile(r"[ \t]*(?P<language>\S*)[^\n]*\n"))
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>[^>]*\S) -->\s*\Z")
# Languages that are shown, never run; one that is neither here nor in EVALUATORS is an error.
SHOWN = {"", "json", "mermaid", "sql", "text", "toml", "yaml"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_python(example: Example) -> str | None:
    """Run statements, with `await` among them as in a notebook, or a `>>>` session, whose output is
    compared."""
    if not example.parsed.lstrip().startswith(">>>"):
        if re.search(r"(?m)^(await|async (with|for)) |= await ", example.parsed):
            run_on_the_loop(example)
        else:
            PythonEvaluator()(example)
        return None
    session = doctest.DocTestParser().get_doctest(
        example.parsed, example.namespace, example.path, example.path, example.line
    )
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    runner.run(session, out=report.write, clear_globs=False)
    example.namespace.update(session.globs)
    return report.getvalue() or None


def run_on_the_loop(example: Example) -> None:
    """Run statements that await, all of a page on one event loop."""
    if "__loop__" not in example.namespace:
        example.namespace["__loop__"] = asyncio.new_event_loop()
    source = "\n" * example.line + example.parsed  # for the lines of a traceback
    code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, example.namespace)  # noqa: S307 - the documentation's own
    if code.co_flags & inspect.CO_COROUTINE:
        example.namespace["__loop__"].run_until_complete(result)


def shell(source: str) -> str:
    """Run shell text in the page's folder and return what it prints; any failure in it fails."""
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", source],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert ran.returncode == 0, f"{source}\n{ran.stdout}"
    return ran.stdout


def run_shell(example: Example) -> None:
    shell(example.parsed)


def run_console(example: Example) -> str | None:
    """Run the `$ ` lines and compare what each prints with the lines below it."""
    for part in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        found = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n?", part)
        assert found
        printed, wanted = shell(found[0]), part[found.end() :]
        if not doctest.OutputChecker().check_output(wanted, printed, FLAGS):
            return f"{found[0]}wanted:\n{wanted}\nprinted:\n{printed}"
    return None


# Addresses of the pages that stand for what runs here: a database of the private server, a folder.
DATABASE = "postgresql://ada@db.example.org/memory"
STORAGE = "s3://bucket/memory"


EVALUATORS: dict[str, Callable[[Example], str | None]] = {
    "python": run_python,
    "shell": run_shell,
    "console": run_console,
}


def fences(document: Document) -> Iterator[Region]:
    for region in LEXER(document):
        marker = NOT_RUN.search(document.text[: region.start])
        region.lexemes["reason"] = marker["reason"] if marker else None
        region.parsed = region.lexemes["source"]
        region.evaluator = None if marker else EVALUATORS.get(region.lexemes["language"])
        yield region


def parse(page: Path) -> Document:
    return Document.parse(str(page), fences)


def evaluate(page: Path) -> None:
    document = parse(page)
    try:
        for example in document:
            example.evaluate()
    finally:
        if "__loop__" in document.namespace:
            document.namespace["__loop__"].close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with this environment's commands on the PATH."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    for path in (home, work):
        path.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.delenv("LAKEBED", raising=False)
    return work


def test_site_builds(tmp_path: Path) -> None:
    """No broken link, and every name of the reference found."""
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=PROJECT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert 'id="lakebed.open"' in (tmp_path / "reference" / "index.html").read_text("utf-8")


# A page may leave its lake open, as a short program does.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_blocks_run(page: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    if DATABASE in text:
        server: PostgresServer = request.getfixturevalue("postgres_18")
        text = text.replace(DATABASE, server.url(server.create_database()))
        page = tmp_path / page.name
        page.write_text(text.replace(STORAGE, str(tmp_path / "bucket")), "utf-8")
    evaluate(page)


def test_languages_are_known() -> None:
    unknown = [
        f"{page}:{example.line}: {example.region.lexemes['language']}"
        for page in PAGES
        for example in parse(page)
        if example.region.lexemes["language"] not in SHOWN | EVALUATORS.keys()
    ]
    assert not unknown


def test_blocks_not_run_have_a_reason(record_property: Callable[[str, object], None]) -> None:
    examples = [(page, example) for page in PAGES for example in parse(page)]
    reasons = [
        f"{page.relative_to(PROJECT)}:{example.line} {example.region.lexemes['reason']}"
        for page, example in examples
        if example.region.lexemes["reason"]
    ]
    run = sum(example.region.evaluator is not None for _, example in examples)
    record_property("documentation blocks run", run)
    record_property("documentation blocks not run", f"{len(reasons)} ({'; '.join(reasons)})")
    # A marker without a reason, misspelt, or above nothing would otherwise pass unseen.
    markers = sum(len(re.findall(r"(?m)^\s*<!--\s*not", page.read_text("utf-8"))) for page in PAGES)
    assert len(reasons) == markers


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert 1 == 2\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```shell\nfalse\ntrue\n```\n",
        "```console\n$ echo one\none\n$ echo two\nthree\n```\n",
        "1. in a list\n\n    ```shell\n    exit 3\n    ```\n",
    ],
)
def test_a_wrong_block_fails(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises((AssertionError, SybilFailure)):
        evaluate(page)


def test_a_marked_block_is_not_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: needs luck -->\n\n```python\nassert 1 == 2\n```\n")
    (example,) = parse(page)
    example.evaluate()
    assert example.region.lexemes["reason"] == "needs luck"


@pytest.mark.usefixtures("folder")
def test_blocks_share_their_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\na = 1\n```\n\n```python\n>>> a\n1\n>>> b = 2\n```\n\n"
        "```python\nimport pathlib\npathlib.Path('x').write_text(str(a + b))\n```\n\n"
        "```console\n$ cat \\\n  x\n3\n```\n"
    )
    evaluate(page)
