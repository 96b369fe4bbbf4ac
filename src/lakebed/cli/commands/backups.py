"""backup and its companions: keep points of a lake in another place, and restore from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import typer

from lakebed.cli.errors import FAILED
from lakebed.cli.opening import lake_name, open_lake
from lakebed.cli.printing.grid import print_grid
from lakebed.cli.printing.output import Json, moment, print_json, print_report, printable
from lakebed.cli.printing.progress import progress_bar
from lakebed.cli.reading.asking import Yes, refused
from lakebed.cli.reading.values import timestamp
from lakebed.config.opening import is_configuration_file
from lakebed.records import Record

_SHOWN = 20

Destination = Annotated[
    str, typer.Argument(metavar="DEST", help="The place of the backups: a folder or a URI.")
]
Storage = Annotated[
    str | None,
    typer.Option(metavar="URI", help="The storage, if --lake is the URL of a catalog."),
]
Point = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Use this point, not the newest. `backups` lists them."),
]


def backup(
    ctx: typer.Context,
    destination: Destination,
    history: Annotated[
        bool, typer.Option("--history", help="Also back up snapshots and all kept versions.")
    ] = False,
    keep: Annotated[
        int | None, typer.Option(metavar="N", help="Afterwards keep only the newest N points.")
    ] = None,
    verify_all: Annotated[
        bool, typer.Option("--verify-all", help="Also verify the contents of earlier backups.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Back up the lake as it is now. Each backup is a point beside the earlier ones in DEST.

    Only contents that DEST lacks are copied. They are read back at the end. Programs can go on
    writing to the lake. If a backup is interrupted, run it again: earlier points are not affected.

    Examples:

    \b
    lakebed backup /mnt/backup/lakebed
    lakebed backup s3://backups/lakebed --history --keep 30
    """
    from lakebed import moving

    with open_lake(ctx) as lake, progress_bar("Backing up") as advance:
        done = moving.backup(
            lake,
            destination,
            history=history,
            keep=keep,
            verify="all" if verify_all else "new",
            progress=advance,
        )
    print_json(done) if as_json else print_report(done)


def backups(ctx: typer.Context, destination: Destination, as_json: Json = False) -> None:
    """List the points in a place of backups, the oldest first.

    Examples:

    \b
    lakebed backups /mnt/backup/lakebed
    lakebed --lake lakebed.yaml backups s3://backups/lakebed --json
    """
    from lakebed import moving

    found = moving.backups(destination, lake=_configuration(ctx))
    if as_json:
        print_json(found)
        return
    rows = [
        [
            point.id,
            point.entries,
            point.history,
            point.snapshots,
            point.byte_size,
            point.lake,
        ]
        for point in found
    ]
    print_grid(["point", "entries", "history", "snapshots", "bytes", "lake"], rows)


def prune_backups(
    ctx: typer.Context,
    destination: Destination,
    keep: Annotated[int, typer.Option(metavar="N", help="How many of the newest points to keep.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove all points but the newest, and the contents that the remaining points do not need.

    Examples:

    \b
    lakebed prune-backups /mnt/backup/lakebed --keep 30 --yes
    """
    from lakebed import moving

    question = f"Remove all points of {destination} but the newest {keep}?"
    if refused(question, dry_run=False, yes=yes, as_json=as_json):
        return
    with progress_bar("Pruning") as advance:
        done = moving.prune_backups(destination, keep, lake=_configuration(ctx), progress=advance)
    print_json(done) if as_json else print_report(done)


def restore_backup(
    ctx: typer.Context,
    destination: Destination,
    storage: Storage = None,
    point: Point = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="The state at this time, such as 2026-07-01T12:00Z."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Restore a backup to the lake that --lake names. The lake must be empty or new.

    With --at, a backup that has all versions gives the entries as of exactly that time. Any other
    backup gives its last point before it. If a restore is interrupted, run it again: it continues.

    Examples:

    \b
    lakebed restore-backup /mnt/backup/lakebed
    lakebed --lake restored restore-backup /mnt/backup/lakebed --point 20260701T031700Z-4f2a90c1
    lakebed --lake postgresql://ada@db.example.org/new restore-backup s3://backups/lakebed \\
        --storage s3://new-bucket/lakebed --at 2026-07-01T12:00Z
    """
    from lakebed import moving

    when: datetime | None = None if at is None else timestamp(at, "at")
    with progress_bar("Restoring") as advance:
        done = moving.restore_backup(
            destination, lake_name(ctx), storage=storage, point=point, at=when, progress=advance
        )
    _print(done, {"differs": done.differing}, as_json=as_json)


def restore_contents(ctx: typer.Context, destination: Destination, as_json: Json = False) -> None:
    """Bring back contents that the lake's storage has lost.

    Use this if a bucket was lost or rolled back, and the catalog is intact. If a content is in no
    point of the backup, the command names its key.

    Examples:

    \b
    lakebed restore-contents /mnt/backup/lakebed
    lakebed --lake lakebed.yaml restore-contents s3://backups/lakebed --json
    """
    from lakebed import moving

    with open_lake(ctx) as lake, progress_bar("Restoring") as advance:
        done = moving.restore_contents(destination, lake, progress=advance)
    lost = {"lost": done.lost_keys, "lost earlier version": done.lost_earlier}
    _print(done, lost, as_json=as_json)


def rebuild_catalog(
    ctx: typer.Context,
    destination: Destination,
    storage: Storage = None,
    point: Point = None,
    found: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX", help="Store contents without a name under this prefix, by hash."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rebuild the lost catalog of a lake, from a backup and the contents in the storage.

    --lake names the folder that has lost its catalog.db, or a new catalog. Contents that were
    stored after the backup have lost their names. The command lists them. With --found it stores
    each under its hash.

    Examples:

    \b
    lakebed rebuild-catalog /mnt/backup/lakebed
    lakebed --lake postgresql://ada@db.example.org/new rebuild-catalog s3://backups/lakebed \\
        --storage s3://bucket/lakebed --found found/
    """
    from lakebed import moving

    with progress_bar("Rebuilding") as advance:
        done = moving.rebuild_catalog(
            destination, lake_name(ctx), storage=storage, point=point, found=found, progress=advance
        )
    if as_json:
        print_json(done)
    else:
        lists = {name: value for name, value in done.items() if isinstance(value, list)}
        counts = {name: len(value) for name, value in lists.items()}
        print_report({**done, **counts, "moment": moment(done.moment)})
        _name("missing", done.missing)
        _name("stored later", [later["key"] for later in done.later])
        _name("without a name", [content["uri"] for content in done.unnamed])
        _name("damaged", done.damaged)
    if done.missing or done.damaged:
        raise typer.Exit(FAILED)


def _configuration(ctx: typer.Context) -> str | None:
    """Return the configuration file that --lake names. The destination uses its options.

    The lake itself need not exist.
    """
    where = lake_name(ctx)
    return where if is_configuration_file(where) else None


def _print(done: Record, lists: Mapping[str, Sequence[str]], *, as_json: bool) -> None:
    """Print a report, its counts first. Exit with an error if something is lost or differs."""
    if as_json:
        print_json(done)
    else:
        shown = {
            name: moment(value) if isinstance(value, datetime) else value
            for name, value in done.items()
            if name not in ("lost_keys", "lost_earlier", "differing")
        }
        print_report(shown)
        for what, names in lists.items():
            _name(what, names)
    if any(lists.values()):
        raise typer.Exit(FAILED)


def _name(what: str, names: Sequence[str]) -> None:
    for name in names[:_SHOWN]:
        print(f"{what}: {printable(name)}")
    if len(names) > _SHOWN:
        print(f"{what}: {len(names) - _SHOWN:,} more (--json has all)")
