"""session add chunk, memory, task, artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from lakebed.cli.commands.sessions.opening import SessionId, open_manager
from lakebed.cli.printing.output import Json, print_json
from lakebed.cli.reading.values import json_or_text, read_value, timestamp
from lakebed.errors import ValidationError
from lakebed.sessions.records import ChunkFormat

add = typer.Typer(help="Add something to a session.", rich_markup_mode=None)


@add.command()
def chunk(
    ctx: typer.Context,
    session_id: SessionId,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The text. `-` reads standard input.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the text from a file.")] = None,
    format_: Annotated[
        str, typer.Option("--format", help="dialogue, summary or transcript.")
    ] = "dialogue",
    as_json: Json = False,
) -> None:
    """Add a piece of text to the end of the conversation.

    Examples:

    \b
    lakebed session add chunk 0hom9rw92a52l133 "user: which hotel?"
    lakebed session add chunk 0hom9rw92a52l133 --file talk.txt --format transcript
    """
    content = read_value(text, file, text=True, raw=False)
    with open_manager(ctx) as manager:
        made = manager.add_chunk(session_id, content, cast("ChunkFormat", format_))
        print_json(made) if as_json else print(made.id)


@add.command()
def memory(
    ctx: typer.Context,
    session_id: SessionId,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="idea, decision, question, action_item, context, preference, fact or risk.",
        ),
    ],
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name.")],
    content: Annotated[str, typer.Argument(metavar="CONTENT", help="JSON, else text.")],
    tags: Annotated[
        list[str] | None, typer.Option("--tag", "-t", help="A tag. Can be repeated.")
    ] = None,
    if_match: Annotated[
        str | None, typer.Option(help="Store only if the memory has this content hash.")
    ] = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Store only if the memory does not exist.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Store something learnt. An existing memory of this type and key is replaced.

    Examples:

    \b
    lakebed session add memory 0hom9rw92a52l133 decision hotel "the one at the lake" -t travel
    """
    with open_manager(ctx) as manager:
        made = manager.add_memory(
            session_id,
            kind,
            key,
            json_or_text(content),
            tags or (),
            if_match=if_match,
            if_absent=if_absent,
        )
        print_json(made) if as_json else print(f"{made.type}/{made.key}")


@add.command()
def task(
    ctx: typer.Context,
    session_id: SessionId,
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent that the task is for.")],
    task_type: Annotated[str, typer.Argument(metavar="TYPE", help="What kind of work it is.")],
    given: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="What to do: JSON, else text.")
    ] = None,
    priority: Annotated[int, typer.Option(help="The highest is claimed first.")] = 0,
    run_after: Annotated[
        str | None, typer.Option(help="The earliest time to claim it: ISO 8601 with a zone.")
    ] = None,
    max_attempts: Annotated[
        int, typer.Option(help="The task has failed after this many claims.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Create a task for an agent, and print its id.

    Examples:

    \b
    lakebed session add task 0hom9rw92a52l133 researcher look-up '{"q": "hotels"}' --priority 5
    """
    later = None if run_after is None else timestamp(run_after)
    with open_manager(ctx) as manager:
        made = manager.create_task(
            session_id,
            agent,
            task_type,
            None if given is None else json_or_text(given),
            priority,
            later,
            max_attempts,
        )
        print_json(made) if as_json else print(made.id)


@add.command()
def artifact(
    ctx: typer.Context,
    session_id: SessionId,
    name: Annotated[
        str,
        typer.Argument(
            metavar="TYPE/NAME",
            help="Its type (code, document, research, prd or report) and its name.",
        ),
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The text. `-` reads standard input.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read it from a file.")] = None,
    raw: Annotated[bool, typer.Option("--bytes", help="Store the bytes as they are.")] = False,
    format_: Annotated[
        str | None, typer.Option("--format", help="The language or format, such as python.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store a result. An existing artifact of this type and name gets a new version.

    Examples:

    \b
    lakebed session add artifact 0hom9rw92a52l133 code/src/main.py --file main.py --format python
    """
    kind, slash, rest = name.partition("/")
    if not slash:
        raise ValidationError(f"{name!r}: expected TYPE/NAME, such as code/main.py")
    content = read_value(text, file, text=not raw, raw=raw)
    with open_manager(ctx) as manager:
        made = manager.add_artifact(session_id, kind, rest, content, format_)
        if as_json:
            print_json({n: value for n, value in made.items() if n != "content"})
        else:
            print(f"{made.type}/{made.name}, version {made.version}")
