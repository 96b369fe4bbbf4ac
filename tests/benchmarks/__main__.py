"""The command line: `python -m tests.benchmarks [NAME…] [--json] [--scale X] [--folder DIR]`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.benchmarks.report import as_json, show
from tests.benchmarks.runner import BENCHMARKS, Result, Room, run

MODULES = (
    "single",
    "startup",
    "concurrency",
    "filters",
    "thresholds",
    "batches",
    "search",
    "search_places",
    "snapshots",
    "maintenance",
    "postgres",
    "queries",
    "sqlalchemy_sqlite",
    "turso",
    "litestream",
    "ltm",
    "tables",
    "appending",
    "reading",
    "buckets",
    "log",
    "files",
    "aio",
    "sessions",
    "document_stores",
)


def main() -> int:
    """Run the benchmarks that are named, or all; 1 if a bar was missed."""
    for module in MODULES:
        importlib.import_module(f"tests.benchmarks.{module}")
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is full size")
    parser.add_argument("--folder", help="where to write; the disk that is measured")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}: there are {', '.join(BENCHMARKS)}")
    console = Console()
    results: list[Result] = []
    for name in arguments.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix="lakebed-bench-", dir=arguments.folder) as folder:
            for contest in BENCHMARKS[name](Room(Path(folder), arguments.scale)):
                result = run(contest)
                results.append(result)
                if arguments.json:
                    print(json.dumps(as_json(name, result), ensure_ascii=False), flush=True)
                else:
                    show(result, console)
    missed = [
        f"{result.contest.title}: {name}"
        for result in results
        for name in result.ratios
        if result.passed(name) is False
    ]
    if missed and not arguments.json:
        console.print(f"[bold red]{len(missed)} bars missed[/]: " + "; ".join(missed))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
