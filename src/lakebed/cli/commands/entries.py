"""put, get, ls, rm: the shell's words for store, retrieve, list and delete."""

from __future__ import annotations

import base64
import sys
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from lakebed.cli.arguments import TTL, ExpiresAt, Key
from lakebed.cli.errors import NOT_FOUND
from lakebed.cli.opening import complete_key, complete_snapshot, open_lake
from lakebed.cli.printing.lines import entry_line, terminal_width
from lakebed.cli.printing.output import (
    Json,
    moment,
    print_fields,
    print_json,
    print_json_array,
    printable,
    to_json,
    writing,
)
from lakebed.cli.printing.tables import give_table
from lakebed.cli.reading.moments import view
from lakebed.cli.reading.tables import reading_table
from lakebed.cli.reading.values import duration, json_object, json_or_text, read_value, timestamp
from lakebed.errors import NotFoundError, ValidationError
from lakebed.records import Entry
from lakebed.values.tables import is_table

At = Annotated[
    str | None,
    typer.Option(
        metavar="SNAPSHOT",
        help="The state at a snapshot. If the lake keeps all history, also at a time or a version.",
        autocompletion=complete_snapshot,
    ),
]


def put(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key: any text up to 1,024 bytes.")],
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="JSON, else text. `-` reads standard input."),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the value from a file.")] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Store the value as text, even if it is valid JSON.")
    ] = False,
    raw: Annotated[bool, typer.Option("--bytes", help="Store the bytes as they are.")] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Store a Parquet or CSV file as a table.")
    ] = False,
    metadata: Annotated[str | None, typer.Option(help="A JSON object.")] = None,
    ttl: TTL = None,
    expires_at: ExpiresAt = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Store only if the key does not exist.")
    ] = False,
    if_match: Annotated[
        str | None, typer.Option(help="Store only if the key's content has this hash.")
    ] = None,
    keep_expiry: Annotated[
        bool, typer.Option("--keep-expiry", help="If the entry exists, keep its expiry.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Store a value under a key. An existing entry is replaced whole.

    A value that is valid JSON is stored as JSON, any other value as text. Text that begins like
    JSON but is invalid, such as an object without its last brace, is refused unless you add --text.

    Examples:

    \b
    lakebed put user/42/name Ada
    lakebed put user/42 '{"name": "Ada"}' --metadata '{"source": "chat"}'
    lakebed put session/9 --file notes.md --text --ttl 1h
    curl -s https://example.org/a.png | lakebed put images/a - --bytes
    lakebed put flights/2013-01 --file january.parquet --table
    lakebed put number -- -5
    """
    described = json_object(metadata, "--metadata")
    expiry = None if expires_at is None else timestamp(expires_at)
    with ExitStack() as stack:
        if not table:
            content = read_value(value, file, text=text, raw=raw)
        elif value is not None or text or raw:
            raise typer.BadParameter(
                "needs --file, and cannot be combined with --text or --bytes", param_hint="--table"
            )
        else:
            content = stack.enter_context(reading_table(file))
        lake = stack.enter_context(open_lake(ctx, create=True))
        entry = lake.store(
            key,
            content,
            described,
            ttl=duration(ttl, "--ttl"),
            expires_at=expiry,
            if_absent=if_absent,
            if_match=if_match,
            keep_expiry=keep_expiry,
        )
    if as_json:
        print_json(entry)
        return
    what = "created" if entry.created else "updated" if entry.changed else "unchanged"
    shared = ", content was stored already" if entry.deduplicated and entry.changed else ""
    print(f"{what} {printable(key)} ({decimal(entry.byte_size)}{shared})")


def get(
    ctx: typer.Context,
    key: Key,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the value to a file.")
    ] = None,
    default: Annotated[
        str | None, typer.Option(help="What to print if the key does not exist: JSON, else text.")
    ] = None,
    entry: Annotated[
        bool,
        typer.Option(
            "--entry", help="Print the entry (its metadata and times) instead of the value."
        ),
    ] = False,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Print the value of a key: JSON, or bytes as they are.

    A table is printed as an array of its rows, or with --output written as Parquet or CSV. The exit
    code is 1 if the key does not exist.

    Examples:

    \b
    lakebed get user/42
    lakebed get user/42/name --default '"unknown"'
    lakebed get images/a --output a.png
    lakebed get flights/2013-01 --output january.csv
    lakebed get user/42 --entry
    lakebed get user/42 --at monday
    """
    if entry and (output is not None or default is not None):
        raise typer.BadParameter(
            "cannot be combined with --output or --default", param_hint="--entry"
        )
    with open_lake(ctx) as lake:
        now = view(lake, at)
        found = now.entry(key)
        if found is None and default is None:
            raise NotFoundError(f"no entry with the key {key!r}")
        if entry:
            assert found is not None
            _print_entry(found, as_json)
            return
        if found is None:
            value = json_or_text(default or "", otherwise="write text as a JSON string")
        else:
            value = now.retrieve(key)
    _give_value(value, output, as_json)


def _give_value(value: Any, output: Path | None, as_json: bool) -> None:
    if is_table(value):
        give_table(value, output, as_json)
        return
    raw = value if isinstance(value, bytes) else None
    if output is not None:
        with writing(output) as file:
            file.write(to_json(value).encode() + b"\n" if raw is None else raw)
        if as_json:
            print_json({"output": str(output), "byte_size": output.stat().st_size})
    elif raw is None:
        print_json(value)
    elif as_json:
        print_json({"value_base64": base64.b64encode(raw).decode()})
    elif sys.stdout.isatty():
        raise ValidationError(
            f"the value is {decimal(len(raw))} of bytes, which may disturb a terminal: write them "
            "to a file with --output FILE, or pipe them"
        )
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(raw)


def _print_entry(entry: Entry, as_json: bool) -> None:
    if as_json:
        print_json(entry)
        return
    fields = dict(entry)
    for name in ("created_at", "updated_at", "expires_at"):
        when = fields[name]
        if isinstance(when, datetime):
            fields[name] = moment(when)
    fields["byte_size"] = f"{entry.byte_size:,}"
    print_fields({name: value for name, value in fields.items() if value is not None})


def ls(
    ctx: typer.Context,
    prefix: Annotated[
        str,
        typer.Argument(
            metavar="PREFIX",
            help="Only keys that begin with this.",
            show_default=False,
            autocompletion=complete_key,
        ),
    ] = "",
    metadata_filter: Annotated[
        str | None,
        typer.Option(
            "--filter", help="Only entries whose metadata match this filter, a JSON object."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The most entries to list.")] = None,
    after: Annotated[
        str | None, typer.Option(help="Start after this key: the last key of the previous page.")
    ] = None,
    long: Annotated[
        bool,
        typer.Option("--long", "-l", help="Also show size, format, time, expiry and metadata."),
    ] = False,
    at: At = None,
    as_json: Json = False,
) -> None:
    """List entries in the order of their keys.

    With --json, prints an array of entries with all their fields. On a terminal, --long cuts lines
    to the terminal's width. In a pipe, lines are complete.

    Examples:

    \b
    lakebed ls user/42/
    lakebed ls --filter '{"source": "chat", "score": {"$gte": 0.5}}' --long
    lakebed ls --limit 100 --after user/42/name
    lakebed ls --at monday
    """
    conditions = json_object(metadata_filter, "--filter")
    with open_lake(ctx) as lake:
        entries = view(lake, at).list(prefix, metadata_filter=conditions, limit=limit, after=after)
        if as_json:
            print_json_array(entries)
            return
        width = terminal_width()
        for entry in entries:
            line = entry_line(entry, width) if long else printable(entry.key)
            sys.stdout.write(line + "\n")


def touch(
    ctx: typer.Context,
    key: Key,
    ttl: TTL = None,
    expires_at: ExpiresAt = None,
    never: Annotated[bool, typer.Option("--never", help="Remove the expiry.")] = False,
    as_json: Json = False,
) -> None:
    """Change when an entry expires. Its value and metadata stay as they are.

    Examples:

    \b
    lakebed touch session/9 --ttl 1h
    lakebed touch session/9 --never
    """
    given = [ttl is not None, expires_at is not None, never].count(True)
    if given != 1:
        wrong = "cannot be combined" if given else "one of them is required"
        raise typer.BadParameter(wrong, param_hint="--ttl, --expires-at and --never")
    until = None if expires_at is None else timestamp(expires_at)
    with open_lake(ctx) as lake:
        entry = lake.touch(key, ttl=duration(ttl, "--ttl"), expires_at=until)
    if as_json:
        print_json(entry)
    elif entry.expires_at is None:
        print(f"{printable(key)} no longer expires")
    else:
        print(f"{printable(key)} expires at {moment(entry.expires_at)}")


def rm(
    ctx: typer.Context,
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY", help="The keys.", autocompletion=complete_key)
    ],
    as_json: Json = False,
) -> None:
    """Delete entries.

    If a key does not exist, the others are still deleted, and the exit code is 1.

    Examples:

    \b
    lakebed rm user/42/name
    lakebed rm session/8 session/9
    """
    with open_lake(ctx) as lake:
        there = {key: lake.delete(key) for key in keys}
    removed = [key for key, was in there.items() if was]
    missing = [key for key, was in there.items() if not was]
    if as_json:
        print_json({"deleted": removed, "missing": missing})
    else:
        for key in removed:
            print(f"deleted {printable(key)}")
        for key in missing:
            typer.echo(f"lakebed: no entry with the key {key!r}", err=True)
    if missing:
        raise typer.Exit(NOT_FOUND)
