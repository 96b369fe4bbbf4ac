"""What a run prints: a table for each contest, or JSON."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from tests.benchmarks.runner import OURS, Result

_VERDICTS = {True: "[green]pass[/]", False: "[bold red]FAIL[/]", None: ""}


def show(result: Result, console: Console) -> None:
    """Print a contest as a table: ours first, then the others with their ratio to ours."""
    contest = result.contest
    about = f"durability {contest.durability}, {contest.rounds} rounds"
    details = ", ".join(filter(None, (about, contest.note)))
    console.print(f"[bold]{contest.title}[/] [dim]({details})[/]")
    table = Table()
    table.add_column("")
    for heading in (contest.unit, "ratio", "bar", ""):
        table.add_column(heading, justify="right")
    table.add_row(f"[bold]{OURS}[/]", _figure(result.figures[OURS]), "", "", "")
    for name, ratio in result.ratios.items():
        bar = contest.bars.get(name)
        table.add_row(
            name,
            _figure(result.figures[name]),
            f"{ratio:.2f}",
            "" if bar is None else f"≥ {bar:.2f}",
            _VERDICTS[result.passed(name)],
        )
    console.print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def as_json(name: str, result: Result) -> dict[str, object]:
    """A contest as one JSON object."""
    contest = result.contest
    others = {
        contender: {
            contest.unit: result.figures[contender],
            "ratio": ratio if math.isfinite(ratio) else None,
            "bar": contest.bars.get(contender),
            "passed": result.passed(contender),
        }
        for contender, ratio in result.ratios.items()
    }
    return {
        "benchmark": name,
        "title": contest.title,
        "durability": contest.durability,
        "unit": contest.unit,
        "rounds": contest.rounds,
        OURS: result.figures[OURS],
        "others": others,
        "note": contest.note,
    }
