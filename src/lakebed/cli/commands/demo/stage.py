"""How the demo looks: numbered steps, the call of each, and its result."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from lakebed.cli.printing.output import printable

P = ParamSpec("P")
R = TypeVar("R")
_INDENT = (0, 0, 0, 3)
_WIDTH = 100


class Stage:
    """Prints the steps of a demo, in colour on a terminal and plain elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(highlight=False, quiet=quiet)
        if not self.console.is_terminal or self.console.width > _WIDTH:
            self.console.width = _WIDTH
        self._steps = 0

    def step(self, title: str) -> None:
        """Begin a step."""
        self._steps += 1
        self.console.print()
        self.console.print(Text(f"{self._steps:>2}  {title}", style="bold cyan"))

    def run(self, call: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Print the body of a function, run it, and remember how many seconds it took."""
        if self.console.is_terminal:
            code = Syntax(shown_body(call), "python", theme="ansi_dark", word_wrap=True)
            self.console.print(Padding(code, _INDENT))
        else:
            self.console.out(textwrap.indent(shown_body(call), "   "))
        began = time.perf_counter()
        result = call(*arguments, **named)
        self.seconds = time.perf_counter() - began
        return result

    def say(self, text: str, style: str = "") -> None:
        """Print a line about the result."""
        if self.console.is_terminal:
            line = Text(printable(text), style=style)
            self.console.print(Padding(line, _INDENT, expand=False))
        else:
            self.console.out(f"   {printable(text)}")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print a small table. Numbers are right-aligned; the last column is cut to fit."""
        cells = [
            [f"{c:,}" if isinstance(c, int) else printable(str(c)) for c in row] for row in rows
        ]
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
        left = self.console.width - 2 * _INDENT[3]
        for index, column in enumerate(columns):
            width = max(len(column), *(len(row[index]) for row in cells)) if cells else len(column)
            if index == len(columns) - 1:
                width = min(width, max(left, 20))
            left -= width + 3
            numbers = all(row[index].replace(",", "").replace(".", "").isdigit() for row in cells)
            table.add_column(
                column,
                justify="right" if numbers else "left",
                width=width,
                no_wrap=True,
                overflow="ellipsis",
            )
        for row in cells:
            table.add_row(*map(Text, row))
        self.console.print(Padding(table, _INDENT, expand=False))


def shown_body(call: Callable[..., object]) -> str:
    """Return the statements of a function as a user would type them, without asserts and the final
    return."""
    source = textwrap.dedent(inspect.getsource(call))
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    body = source.splitlines()[function.body[0].lineno - 1 :]
    return "\n".join(
        line.removeprefix("return ")
        for line in textwrap.dedent("\n".join(body)).splitlines()
        if not re.match(r"assert |return \w+( |$)", line)
    )
