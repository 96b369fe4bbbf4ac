"""Rows for people: a table, or one field per line if the terminal is too narrow for a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakebed.cli.printing.cells import cell
from lakebed.cli.printing.output import printable, to_json

if TYPE_CHECKING:
    from rich.console import Console

_UNBOUNDED = 1_000_000  # columns: piped output is never cut


def print_grid(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table. If the terminal is narrower than the table, print one field per
    line."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    texts = [[printable(_text(item)) for item in row] for row in rows]
    table = Table()
    for place, name in enumerate(columns):
        numeric = all(isinstance(row[place], (int, float, type(None))) for row in rows)
        table.add_column(printable(name), justify="right" if numeric and rows else "left")
    for row in texts:
        table.add_row(*map(Text, row))
    console = Console()
    if not console.is_terminal:
        Console(width=_UNBOUNDED).print(table)
    elif Measurement.get(console, console.options.update(width=_UNBOUNDED), table).maximum <= (
        console.width
    ):
        console.print(table)
    else:
        _print_records(console, [printable(name) for name in columns], texts)


def _print_records(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.text import Text

    width = max(map(len, columns), default=0)
    for number, row in enumerate(rows, 1):
        console.rule(f"row {number}", align="left")
        for name, text in zip(columns, row, strict=True):
            console.print(Text(f"{name:<{width}}  ", "dim") + Text(text), soft_wrap=True)


def _text(item: object) -> str:
    """Return a value for people to read: text and times without quotes, nested values as JSON."""
    if item is None:
        return "NULL"
    plain = cell(item)
    return plain if isinstance(plain, str) else to_json(plain)
