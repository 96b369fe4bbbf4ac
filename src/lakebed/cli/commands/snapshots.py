"""snapshot create, list and drop; diff, history, restore."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from rich.filesize import decimal

from lakebed.cli.opening import complete_key, complete_snapshot, open_lake
from lakebed.cli.printing.lines import cut, terminal_width, version_line
from lakebed.cli.printing.output import (
    Json,
    entries_in_words,
    moment,
    print_json,
    print_json_array,
    printable,
    to_json,
)
from lakebed.cli.printing.progress import progress_bar
from lakebed.cli.reading.asking import DryRun, Yes, confirm
from lakebed.cli.reading.moments import Moment, moment_of
from lakebed.errors import NotFoundError
from lakebed.lake.history.diff import Diff, Restored

snapshot = typer.Typer(
    help="Keep the present state of the lake under a name. A snapshot takes one row.",
    rich_markup_mode=None,
)
Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Its name, or its id.", autocompletion=complete_snapshot),
]
Prefix = Annotated[str, typer.Option(help="Only keys that begin with this.")]
_SHORT = 60


@snapshot.command()
def create(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A new name. Default: a name made from the time."),
    ] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="What it is for.")] = None,
    author: Annotated[str | None, typer.Option(help="Who made it.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop the existing snapshot with this name.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Keep the present state under a name.

    Examples:

    \b
    lakebed snapshot create monday
    lakebed snapshot create before-run --message "before the agent runs"
    lakebed snapshot create
    lakebed snapshot create nightly --replace
    """
    with open_lake(ctx) as lake:
        made = lake.create_snapshot(name, message=message, author=author, replace=replace)
    if as_json:
        print_json(made)
    else:
        print(f"created snapshot {printable(made.name)} ({made.id})")


@snapshot.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """List the snapshots, the oldest first, and when purge last removed something from them.

    Examples:

    \b
    lakebed snapshot list
    """
    with open_lake(ctx) as lake:
        found = lake.snapshots()
    if as_json:
        print_json_array(found)
        return
    width = max((len(printable(made.name)) for made in found), default=0)
    for made in found:
        purged = f"purged {moment(made.purged_at)}" if made.purged_at else ""
        about = "  ".join(printable(text) for text in (purged, made.author, made.message) if text)
        line = f"{moment(made.created_at)}  {printable(made.name):<{width}}  {made.id}  {about}"
        print(cut(line.rstrip(), terminal_width()))


@snapshot.command()
def drop(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Remove a snapshot. The present entries stay as they are.

    Examples:

    \b
    lakebed snapshot drop monday
    """
    with open_lake(ctx) as lake:
        lake.drop_snapshot(name)
    if as_json:
        print_json({"dropped": name})
    else:
        print(f"dropped snapshot {printable(name)}")


def diff(
    ctx: typer.Context,
    a: Annotated[
        Moment, typer.Argument(metavar="A", help="A snapshot.", autocompletion=complete_snapshot)
    ],
    b: Annotated[
        Moment | None,
        typer.Argument(
            metavar="B", help="Another snapshot. Default: now.", autocompletion=complete_snapshot
        ),
    ] = None,
    prefix: Prefix = "",
    brief: Annotated[
        bool, typer.Option("--brief", help="Do not show what changed inside values.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what differs between two snapshots, or between a snapshot and now.

    If the lake keeps all history, a time or a version can stand in place of a snapshot.

    Examples:

    \b
    lakebed diff monday
    lakebed diff monday friday --prefix user/42/ --json
    """
    with open_lake(ctx) as lake:
        with progress_bar("Comparing") as advance:
            found = lake.diff(
                moment_of(lake, a),
                None if b is None else moment_of(lake, b),
                prefix=prefix,
                progress=advance,
            )
        if as_json:
            _print_diff_json(found, brief)
        else:
            _print_diff(found, brief)


def history(
    ctx: typer.Context,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="The key.", autocompletion=complete_key)
    ],
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="The most versions to show.")
    ] = None,
    before: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Only versions below this one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the versions of a key that are kept, newest first.

    The exit code is 1 if there are none.

    Examples:

    \b
    lakebed history user/42/name
    lakebed history user/42/name --limit 20
    """
    with open_lake(ctx) as lake:
        versions = lake.history(key, limit=limit, before=before)
    if not versions:
        raise NotFoundError(f"no version of the key {key!r} is kept")
    if as_json:
        print_json({"versions": list(versions), "note": versions.note})
        return
    width = terminal_width()
    for version in versions:
        print(version_line(version, width))
    if versions.note:
        typer.echo(versions.note, err=True)


def restore(
    ctx: typer.Context,
    name: Name,
    prefix: Prefix = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Restore the lake to its state at a snapshot.

    First the present state is kept as a new snapshot. The command prints its name. Restore that
    snapshot to undo this.

    Examples:

    \b
    lakebed restore monday --dry-run
    lakebed restore monday --prefix user/42/
    """
    with open_lake(ctx) as lake:
        asks = not (yes or dry_run)
        if asks:
            lake.at(name)  # an unknown snapshot is an error before it is a question
        if asks and sys.stdin.isatty() and not as_json:
            _print_diff(lake.restore(name, prefix=prefix, dry_run=True), brief=True)
        if asks and not confirm("Make these changes?", yes=yes, as_json=as_json):
            print("nothing was changed")
            return
        done = lake.restore(name, prefix=prefix, dry_run=dry_run)
        if as_json:
            _print_diff_json(done, brief=True)
            return
        if not asks:
            _print_diff(done, brief=True)
    if done.expired:
        print(
            f"{entries_in_words(done.expired)} of the snapshot expired since then and are not "
            "restored"
        )
    if done.snapshot:
        print(f"restored {printable(name)}; undo with: lakebed restore {done.snapshot}")


def _print_diff(found: Diff, brief: bool) -> None:
    for entry in found.added:
        typer.secho(f"+ {printable(entry.key)}  {decimal(entry.byte_size)}", fg="green")
    for change in found.changed:
        flags = {
            "content": change.content_changed,
            "metadata": change.metadata_changed,
            "expiry": change.expiry_changed,
        }
        what = ", ".join(name for name, differs in flags.items() if differs)
        typer.secho(f"~ {printable(change.key)}  {what}", fg="yellow")
        for line in () if brief else _details(change.details()):
            print(f"    {printable(line)}")
        if change.metadata_changed and not brief:
            before, after = change.before.metadata, change.after.metadata
            print(f"    metadata: {printable(_turned(before, after))}")
    for entry in found.removed:
        typer.secho(f"- {printable(entry.key)}  {decimal(entry.byte_size)}", fg="red")
    totals = found.summary()
    print(f"{totals.added:,} added, {totals.changed:,} changed, {totals.removed:,} removed")


def _details(details: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each change inside a value."""
    for kind, changes in details.items():
        if not isinstance(changes, Mapping):
            yield f"{kind.replace('_', ' ')}: {_turned(*changes)}"
            continue
        for path, change in changes.items():
            if isinstance(change, Mapping) and "old_value" in change and "new_value" in change:
                yield f"{path}: {_turned(change['old_value'], change['new_value'])}"
            else:
                yield f"{path}: {kind.rpartition('_')[2]} {_short(change)}"


def _turned(before: object, after: object) -> str:
    return f"{_short(before)} → {_short(after)}"


def _short(value: object) -> str:
    text = to_json(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _print_diff_json(found: Diff, brief: bool) -> None:
    """Print one JSON object. Its arrays are printed while they are read, so a diff can be large."""
    about: dict[str, object] = {"summary": found.summary()}
    if isinstance(found, Restored):
        about |= {"snapshot": found.snapshot, "expired": found.expired}
    print(to_json(about).removesuffix("}"))
    changes = (
        dict(change) if brief else {**change, "details": change.details()}
        for change in found.changed
    )
    for name, items in (("added", found.added), ("changed", changes), ("removed", found.removed)):
        print(f', "{name}":')
        print_json_array(items)
    print("}")
