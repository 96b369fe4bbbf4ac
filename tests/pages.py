"""The pages of the documentation, and how their blocks run."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import io
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from sybil import Document, Example, Region
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

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


# Addresses of the pages that stand for what runs here: databases of the private server, whose
# owner is called ada, and a folder.
DATABASE = re.compile(r"postgresql://(?P<user>\w+)@db\.example\.org/(?P<name>\w+)")
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
