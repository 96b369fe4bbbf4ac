"""put, get, ls, rm: the shell's words for store, retrieve, list and delete."""

from __future__ import annotations

import base64
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from lakebed.cli.errors import NOT_FOUND
from lakebed.cli.moments import view
from lakebed.cli.opening import complete_key, complete_snapshot, open_lake
from lakebed.cli.output import (
    Json,
    moment,
    print_fields,
    print_json,
    print_json_array,
    printable,
    to_json,
    writing,
)
from lakebed.cli.tables import give_table, reading_table
from lakebed.cli.values import duration, json_object, json_or_text, read_value, timestamp
from lakebed.errors import NotFoundError, ValidationError
from lakebed.model import Entry
from lakebed.values.tables import is_table

At = Annotated[
    str | None,
    typer.Option(
        metavar="SNAPSHOT",
        help="As it was at a snapshot (or a time or version, where all history is kept).",
        autocompletion=complete_snapshot,
    ),
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.", autocompletion=complete_key)]


def put(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key: any text up to 1,024 bytes.")],
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="JSON, or else text; `-` reads standard input."),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read the value from a file.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Store text, even if it is JSON.")] = False,
    raw: Annotated[bool, typer.Option("--bytes", help="Store the bytes as they are.")] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Store a Parquet or CSV file as a table.")
    ] = False,
    metadata: Annotated[str | None, typer.Option(help="A JSON object.")] = None,
    ttl: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long until the entry expires: 90, 90s, 1h30m, 30d."),
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="When the entry expires: ISO 8601 with a zone.")
    ] = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Only if the key is not there.")
    ] = False,
    if_match: Annotated[
        str | None, typer.Option(help="Only if the key has this content hash.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store a value under a key, replacing what is there whole.

    The value is parsed as JSON. Other text is stored as text, but text that begins
    like JSON and is not, such as an object with a missing brace, needs --text.

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
            raise typer.BadParameter("goes with --file alone", param_hint="--table")
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
        )
    if as_json:
        print_json(entry)
        return
    what = "created" if entry.created else "updated" if entry.changed else "unchanged"
    shared = ", content already there" if entry.deduplicated and entry.changed else ""
    print(f"{what} {printable(key)} ({decimal(entry.byte_size)}{shared})")


def get(
    ctx: typer.Context,
    key: Key,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the value to a file.")
    ] = None,
    default: Annotated[
        str | None, typer.Option(help="The value if the key is not there: JSON, or else text.")
    ] = None,
    entry: Annotated[
        bool, typer.Option("--entry", help="Show the entry, its metadata and times, instead.")
    ] = False,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Print the value of a key: JSON, or bytes as they are.

    A table is an array of its rows, and with --output a Parquet or CSV file.
    The exit code is 1 if the key is not there.

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
        raise typer.BadParameter("goes with neither --output nor --default", param_hint="--entry")
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
            f"the value is {decimal(len(raw))} of bytes, which may upset a terminal: "
            "write them with --output FILE or send them through a pipe"
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
        str | None, typer.Option("--filter", help="Only entries whose metadata match: JSON.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many entries.")] = None,
    after: Annotated[
        str | None, typer.Option(help="Begin behind this key: the last of an earlier list.")
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Show size, time, expiry and metadata as well.")
    ] = False,
    at: At = None,
    as_json: Json = False,
) -> None:
    """List entries in the order of their keys.

    With --json, an array of all their fields.

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
        for entry in entries:
            sys.stdout.write((_long(entry) if long else printable(entry.key)) + "\n")


def _long(entry: Entry) -> str:
    left = entry.expires_at
    expires = "-" if left is None else f"in {_duration((left - datetime.now(UTC)).total_seconds())}"
    return (
        f"{decimal(entry.byte_size):>9}  {entry.format:<7}  {moment(entry.updated_at)}  "
        f"{expires:<7}  {printable(entry.key)}  {printable(to_json(entry.metadata))}"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def rm(
    ctx: typer.Context,
    keys: Annotated[
        list[str], typer.Argument(metavar="KEY", help="The keys.", autocompletion=complete_key)
    ],
    as_json: Json = False,
) -> None:
    """Delete entries.

    All keys are tried; the exit code is 1 if one of them was not there.

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
