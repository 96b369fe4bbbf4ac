"""watch: print changes as they happen."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.filesize import decimal

from lakebed.cli.opening import open_lake
from lakebed.cli.printing.output import printable, to_json
from lakebed.cli.reading.cursors import CursorFile, Interval, Once, keep_cursor, kept_cursor
from lakebed.lake.history.feed import FeedChange, forget_reader
from lakebed.lake.lake import Lake

_SIGNS = {"added": ("+", "green"), "changed": ("~", "yellow"), "removed": ("-", "red")}


def watch(
    ctx: typer.Context,
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    cursor: CursorFile = None,
    everything: Annotated[
        bool, typer.Option("--all", help="First print every entry that exists, as added.")
    ] = False,
    interval: Interval = 1.0,
    once: Once = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each change as a JSON object, one per line.")
    ] = False,
) -> None:
    """Print what changes in the lake, from now on, until interrupted.

    If a key changes several times between two checks, only its last state is printed. With
    --cursor, the next run continues where this one stops, so that no change is missed.

    Examples:

    \b
    lakebed watch --prefix user/42/
    lakebed watch --cursor changes.cursor --once --json
    """
    with open_lake(ctx) as lake:
        since = kept_cursor(cursor)
        if since is None and not everything:
            since = lake.changes(prefix=prefix).cursor
            keep_cursor(cursor, since)
        try:
            while True:
                looked = _look(lake, since, prefix, as_json)
                if looked != since:
                    since = looked
                    keep_cursor(cursor, since)
                if once:
                    break
                time.sleep(interval)
        finally:
            if cursor is None and since is not None:
                forget_reader(lake, since)  # the cursor is not kept, so no later run can use it


def _look(lake: Lake, since: str | None, prefix: str, as_json: bool) -> str:
    changes = lake.changes(since, prefix)
    for change in changes:
        _print(change, as_json)
    sys.stdout.flush()
    return changes.cursor


def _print(change: FeedChange, as_json: bool) -> None:
    if as_json:
        print(to_json(change))
        return
    sign, colour = _SIGNS[change.change]
    size = "" if change.after is None else f"  {decimal(change.after.byte_size)}"
    typer.secho(f"{sign} {printable(change.key)}{size}", fg=colour)
