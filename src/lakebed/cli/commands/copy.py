"""copy: from one lake to another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from lakebed.cli.errors import FAILED
from lakebed.cli.printing.output import Json, print_json, print_report, printable, to_json
from lakebed.cli.printing.progress import progress_bar
from lakebed.cli.reading.cursors import CursorFile, Interval, Once, keep_cursor, kept_cursor
from lakebed.errors import ValidationError
from lakebed.lake.copying.report import CopyReport

_WHERE = "a folder, a URL, or a configuration file"


def copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=f"The lake: {_WHERE}.")],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="The lake to copy to. It is created if it does not exist."
        ),
    ],
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    history: Annotated[
        bool,
        typer.Option("--history", help="Also copy all kept versions. The target must be empty."),
    ] = False,
    snapshots: Annotated[
        bool, typer.Option("--snapshots", help="Also copy the snapshots. The target must be empty.")
    ] = False,
    on_conflict: Annotated[
        Literal["fail", "skip", "replace"],
        typer.Option(help="What to do with an entry that differs in the target."),
    ] = "fail",
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep copying changes until interrupted.")
    ] = False,
    cursor: CursorFile = None,
    interval: Interval = 1.0,
    once: Once = False,
    as_json: Json = False,
) -> None:
    """Copy the entries of one lake to another. The two can have different catalogs and storages.

    If a copy is interrupted, run it again: it continues. With --follow the command keeps the target
    up to date with every change and deletion, until you switch to the target.

    SOURCE and TARGET can also be other stores: json:///folder, diskcache:///folder,
    langgraph+sqlite:///file.db, langgraph+postgresql://host/database, ltm+NAME://?option=value.

    Examples:

    \b
    lakebed copy lakebed archive
    lakebed copy langgraph+sqlite:///graph.db lakebed
    lakebed copy lakebed json:///exported --prefix notes/
    lakebed copy lakebed postgresql://ada@db.example.org/memory --history
    lakebed copy lakebed.yaml new.yaml --follow --cursor moving.cursor
    """
    from lakebed import moving

    if follow:
        if history or snapshots or on_conflict != "fail":
            raise ValidationError(
                "--follow replaces what differs, and cannot be combined with --history, "
                "--snapshots or --on-conflict"
            )
        _follow(source, target, prefix, cursor, interval, once=once, as_json=as_json)
        return
    if cursor is not None or once:
        raise ValidationError("--cursor and --once need --follow")
    with progress_bar("Copying") as advance:
        done = moving.copy(
            _place(source),
            _place(target),
            prefix,
            history=history,
            snapshots=snapshots,
            on_conflict=on_conflict,
            progress=advance,
        )
    if as_json:
        print_json(done)
    else:
        _print(done)
    if done.differing:
        raise typer.Exit(FAILED)


def _follow(
    source: str,
    target: str,
    prefix: str,
    file: Path | None,
    interval: float,
    *,
    once: bool,
    as_json: bool,
) -> None:
    from lakebed import moving

    origin, goal = moving.opened(_place(source)), moving.opened(_place(target))
    since = kept_cursor(file)
    with origin as source_place, goal as target_place:
        source_lake, target_lake = moving.as_lake(source_place), moving.as_lake(target_place)
        while True:
            done = moving.follow(source_lake, target_lake, since, prefix)
            if done.cursor is not None and done.cursor != since:
                keep_cursor(file, done.cursor)
                since = done.cursor
            if done.entries or done.removed or once:
                print(to_json(done) if as_json else _line(done), flush=True)
            if once:
                return
            time.sleep(interval)


def _place(where: str) -> str:
    if not where:
        raise ValidationError(f"a lake must be named: {_WHERE}")
    return where


def _line(done: CopyReport) -> str:
    return (
        f"{done.copied:,} copied, {done.replaced:,} replaced, {done.removed:,} removed, "
        f"{done.unchanged:,} unchanged"
    )


def _print(done: CopyReport) -> None:
    shown = {
        name: value
        for name, value in done.items()
        if name not in ("cursor", "removed", "differing", "notes")
    }
    print_report(shown)
    for note in done.notes:
        print(f"note: {printable(note)}")
    for key in done.differing:
        print(f"differs: {printable(key)}")
