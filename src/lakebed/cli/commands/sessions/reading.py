"""session list, show, search, artifacts, create: sessions and their contents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from lakebed.cli.commands.sessions.opening import SessionId, open_manager
from lakebed.cli.printing.output import (
    Json,
    moment,
    print_json,
    print_json_array,
    printable,
    writing,
)
from lakebed.cli.printing.tables import give_table
from lakebed.cli.reading.values import timestamp
from lakebed.errors import ValidationError
from lakebed.sessions.moving.page import markdown
from lakebed.sessions.records import Artifact, SessionStatus
from lakebed.values.tables import is_table


def list_(
    ctx: typer.Context,
    status: Annotated[
        str | None, typer.Option(help="Only active, paused or completed sessions.")
    ] = None,
    participant: Annotated[
        str | None, typer.Option(help="Only sessions with this participant.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Only sessions active since this time: ISO 8601 with a zone.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The most sessions to list.")] = None,
    as_json: Json = False,
) -> None:
    """List sessions, the most recently active first.

    Examples:

    \b
    lakebed session list
    lakebed session list --status active --participant researcher
    """
    first = None if since is None else timestamp(since)
    with open_manager(ctx) as manager:
        found = manager.list_sessions(cast("SessionStatus", status), participant, first, limit)
        if as_json:
            print_json_array(found)
            return
        for session in found:
            parts = f"{session.chunks} chunks, {session.memories} memories, {session.tasks} tasks"
            print(
                f"{session.id}  {session.status:<9}  {moment(session.last_activity)}  "
                f"{printable(session.title)}  ({parts}, {session.artifacts} artifacts)"
            )


def show(ctx: typer.Context, session_id: SessionId, as_json: Json = False) -> None:
    """Print a whole session as a page of text, or with --json its summary.

    Examples:

    \b
    lakebed session show 0hom9rw92a52l133
    lakebed session show 0hom9rw92a52l133 --json
    """
    with open_manager(ctx) as manager:
        if as_json:
            print_json(manager.summary(session_id))
            return
        for part in markdown(manager, session_id):
            sys.stdout.write(part)


def create(
    ctx: typer.Context,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What it is about.")],
    participants: Annotated[
        list[str] | None,
        typer.Option(
            "--participant", "-p", help="An agent or person who takes part. Can be repeated."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a session, and print its id.

    Examples:

    \b
    lakebed session create "Plan the trip" -p ada -p researcher
    """
    with open_manager(ctx, create=True) as manager:
        session = manager.create_session(title, participants or ())
        print_json(session) if as_json else print(session.id)


def search(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words. Any of them may match.")],
    session_id: Annotated[
        str | None, typer.Option("--session", help="Only in this session.")
    ] = None,
    limit: Annotated[int, typer.Option(help="The most hits to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Find chunks, memories, tasks and artifacts that have any of the words, the best first.

    Examples:

    \b
    lakebed session search "which hotel"
    lakebed session search hotel --session 0hom9rw92a52l133
    """
    with open_manager(ctx) as manager:
        hits = manager.search(session_id, text, limit=limit)
        if as_json:
            found = [{"kind": hit.metadata["kind"], **dict(hit)} for hit in hits if _plain(hit)]
            print_json({"total": hits.total, "hits": found})
            return
        for hit in hits:
            about = hit.metadata
            print(f"{hit.score:>7.3f}  {about['session']}  {about['kind']}")
            print(f"         {printable(hit.preview())}")
        print(f"{len(hits):,} of {hits.total:,} hits")


def _plain(hit: Any) -> bool:
    return bool(hit.entry.format == "json")


def artifacts(
    ctx: typer.Context,
    session_id: SessionId,
    name: Annotated[
        str | None,
        typer.Argument(metavar="TYPE/NAME", help="Print this artifact. Without it, list all."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to a file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the artifacts of a session, or print one of them.

    Examples:

    \b
    lakebed session artifacts 0hom9rw92a52l133
    lakebed session artifacts 0hom9rw92a52l133 code/src/main.py -o main.py
    """
    with open_manager(ctx) as manager:
        if name is None:
            found = manager.artifacts(manager.load(session_id).id)
            if as_json:
                print_json_array(_without_content(artifact) for artifact in found)
                return
            for artifact in found:
                shown = f"{artifact.type}/{artifact.name}"
                print(f"{printable(shown)}  {artifact.format}  {moment(artifact.updated)}")
            return
        kind, _, rest = name.partition("/")
        _give(manager.artifact(session_id, kind, rest), output, as_json)


def _without_content(artifact: Artifact) -> dict[str, object]:
    return {field: value for field, value in artifact.items() if field != "content"}


def _give(artifact: Artifact, output: Path | None, as_json: bool) -> None:
    content = artifact.content
    if is_table(content):
        give_table(content, output, as_json)
        return
    if output is not None:
        with writing(output) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        if as_json:
            print_json({"output": str(output), "byte_size": output.stat().st_size})
    elif isinstance(content, str):
        print_json(dict(artifact)) if as_json else print(content)
    elif as_json or sys.stdout.isatty():
        raise ValidationError("the artifact is bytes: write them with --output FILE")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
