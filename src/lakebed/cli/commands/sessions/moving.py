"""session export, import, migrate."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from lakebed.cli.commands.sessions.opening import SessionId, open_manager, open_place
from lakebed.cli.printing.output import Json, print_json, print_report, to_json, writing
from lakebed.cli.printing.progress import progress_bar
from lakebed.cli.reading.values import parse_json
from lakebed.errors import ConfigurationError, ValidationError
from lakebed.sessions.moving.files import export_session, import_session
from lakebed.sessions.moving.moving import bring, entries_of
from lakebed.sessions.moving.page import markdown
from lakebed.sessions.records import MoveReport


def export(
    ctx: typer.Context,
    session_id: SessionId,
    format_: Annotated[
        Literal["markdown", "json"],
        typer.Option("--format", help="A page to read, or JSON to import elsewhere."),
    ] = "markdown",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a whole session, as a Markdown page or as JSON.

    Examples:

    \b
    lakebed session export 0hom9rw92a52l133 -o trip.md
    lakebed session export 0hom9rw92a52l133 --format json -o trip.json
    """
    with open_manager(ctx) as manager:
        if format_ == "json" or (as_json and output is None):
            text = to_json(export_session(manager.lake, session_id), indent=2) + "\n"
        else:
            text = "".join(markdown(manager, session_id))
    if output is None:
        sys.stdout.write(text)
        return
    with writing(output) as file:
        file.write(text.encode())
    if as_json:
        print_json({"output": str(output), "byte_size": output.stat().st_size})


def import_(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The file that export --format json wrote.")
    ],
    as_json: Json = False,
) -> None:
    """Import a session that was exported as JSON. Repeating it stores nothing twice.

    Examples:

    \b
    lakebed session import trip.json
    """
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        told = parse_json(data)
    except (ValueError, json.JSONDecodeError) as error:
        raise ValidationError(f"{file} is not JSON: {error}") from None
    with open_manager(ctx, create=True) as manager:
        _report(import_session(manager.lake, told), as_json)


def migrate(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="json:DIR, a lake's folder, URL or YAML file.")
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="The same forms. It is created if it does not exist."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Copy all sessions and agents from one place to another.

    You can repeat it: nothing is stored twice. If both places have an item, the newer one stays.
    Tasks that were claimed or ended in the target stay as they are.

    Examples:

    \b
    lakebed session migrate json:sessions postgresql://localhost/agents
    lakebed session migrate postgresql://localhost/agents json:sessions
    """
    if source == target:
        raise ConfigurationError("source and target must be different places")
    with (
        closing(open_place(source, create=False)) as first,
        closing(open_place(target, create=True)) as second,
        progress_bar("migrating") as progress,
    ):
        _report(bring(second, entries_of(first), progress), as_json)


def _report(report: MoveReport, as_json: bool) -> None:
    print_json(report) if as_json else print_report(report)
