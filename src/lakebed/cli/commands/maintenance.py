"""cleanup-expired, maintain, compact, collect, verify, purge: keeping a lake clean."""

from __future__ import annotations

from typing import Annotated

import typer

from lakebed.cli.commands.service import maintain_every
from lakebed.cli.errors import FAILED
from lakebed.cli.opening import complete_key, folder_name, open_lake
from lakebed.cli.printing.output import Json, entries_in_words, print_json, print_report, printable
from lakebed.cli.printing.progress import progress_bar
from lakebed.cli.reading.asking import DryRun, Yes, confirm, refused
from lakebed.cli.reading.values import duration
from lakebed.lake.upkeep.maintenance import maintain_in_turn
from lakebed.lake.upkeep.purging import PurgeReport

MaxBytes = Annotated[int | None, typer.Option(help="Move at most this many bytes of values.")]


def cleanup_expired(
    ctx: typer.Context,
    batch_size: Annotated[
        int, typer.Option(help="The most entries to remove in one transaction.")
    ] = 1000,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove expired entries. They are invisible already. Removing them frees their space.

    Examples:

    \b
    lakebed cleanup-expired
    """
    question = "Remove expired entries for good?"
    if refused(question, dry_run=dry_run, yes=yes, as_json=as_json):
        return
    with open_lake(ctx) as lake, progress_bar("Removing expired entries") as advance:
        done = lake.cleanup_expired(batch_size, dry_run=dry_run, progress=advance)
    if as_json:
        print_json(done)
    else:
        count = done.remaining if dry_run else done.deleted
        entries = f"{count:,} expired {'entry' if count == 1 else 'entries'}"
        left = "" if dry_run else f", {done.remaining:,} remain"
        print(f"{'would remove' if dry_run else 'removed'} {entries}{left}")


def maintain(
    ctx: typer.Context,
    max_bytes: MaxBytes = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Stop after this many seconds. The next run continues.")
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="Repeat at this interval, as a service: `10m`, or seconds."
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Run all upkeep in the right order. Use it in a cron job or as a service.

    Removes expired entries and history that nothing keeps, moves values that have been in the
    catalog for a week to packs, and collects garbage.

    Examples:

    \b
    lakebed maintain
    lakebed maintain --dry-run
    lakebed maintain --max-bytes 1000000000 --max-seconds 600 --json
    lakebed maintain --every 10m --yes
    """
    seconds = duration(every, "--every")
    if seconds is not None and seconds <= 0:
        raise typer.BadParameter("expected more than 0 seconds", param_hint="--every")
    question = "Remove expired entries, history that nothing keeps, and garbage for good?"
    if refused(question, dry_run=dry_run, yes=yes, as_json=as_json):
        return
    if seconds is not None:
        maintain_every(
            ctx,
            seconds,
            lambda lake: (
                lake.maintain(max_bytes, max_seconds=max_seconds, dry_run=True)
                if dry_run
                else maintain_in_turn(lake, seconds, max_bytes, max_seconds=max_seconds)
            ),
            as_json=as_json,
        )
    with open_lake(ctx) as lake, progress_bar("Maintaining") as advance:
        done = lake.maintain(max_bytes, max_seconds=max_seconds, dry_run=dry_run, progress=advance)
    if as_json:
        print_json(done)
        return
    compacted = {f"compacted {name}": value for name, value in done.compacted.items()}
    collected = {f"collected {name}": value for name, value in done.collected.items()}
    del collected["collected dry_run"]
    ends = {"finished": done.finished, "dry_run": done.dry_run}
    counts = {"expired": done.expired, "history": done.history}
    print_report({**counts, **compacted, **collected, **ends})


def compact(
    ctx: typer.Context,
    max_bytes: MaxBytes = None,
    older_than: Annotated[
        float,
        typer.Option(help="Only move values that have been in the catalog for this many seconds."),
    ] = 0,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Move values from the catalog to packs, and rewrite packs that are mostly dead.

    Examples:

    \b
    lakebed compact --dry-run
    lakebed compact --older-than 604800 --max-bytes 1000000000
    """
    with open_lake(ctx) as lake, progress_bar("Compacting") as advance:
        done = lake.compact(max_bytes, older_than=older_than, dry_run=dry_run, progress=advance)
    told = {**done, "dry_run": dry_run}
    print_json(told) if as_json else print_report(told)


def collect(
    ctx: typer.Context,
    grace: Annotated[
        float,
        typer.Option(help="For how many seconds unreferenced bytes are kept, for readers."),
    ] = 3600,
    orphan_grace: Annotated[
        float,
        typer.Option(help="For how many seconds a file that the catalog does not know is kept."),
    ] = 86400,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Always search the storage for such files.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove contents to which no entry, no snapshot and no kept version refers.

    Examples:

    \b
    lakebed collect --dry-run
    lakebed collect --grace 0
    """
    question = "Remove unreferenced contents for good?"
    if refused(question, dry_run=dry_run, yes=yes, as_json=as_json):
        return
    with open_lake(ctx) as lake, progress_bar("Collecting") as advance:
        done = lake.collect(grace, orphan_grace, dry_run=dry_run, orphans=orphans, progress=advance)
    print_json(done) if as_json else print_report(done)


def verify(
    ctx: typer.Context,
    sample: Annotated[
        float, typer.Option(help="The share of the contents to read, from 0 to 1.")
    ] = 1.0,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Repair a content if the storage has an intact copy."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read the contents, compare them with their hashes, and check every reference.

    The exit code is 2 if a problem remains.

    Examples:

    \b
    lakebed verify
    lakebed verify --sample 0.1
    lakebed verify --repair
    """
    with open_lake(ctx) as lake, progress_bar("Verifying") as advance:
        found = lake.verify(sample, repair=repair, progress=advance)
    left = [problem for problem in found.problems if not problem.repaired]
    if as_json:
        print_json({**found, "problems": list(found.problems)})
    else:
        for problem in found.problems:
            print(printable(problem.text))
        print_report(
            {"objects": found.objects, "byte_size": found.byte_size, "problems": len(left)}
        )
    if left:
        raise typer.Exit(FAILED)


def purge(
    ctx: typer.Context,
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="The key.", autocompletion=complete_key)
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Purge all keys that begin with this, instead of KEY.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Erase a key, or all keys under a prefix, for good, also from history and every snapshot.

    Examples:

    \b
    lakebed purge user/42/name --dry-run
    lakebed purge --prefix user/42/ --yes
    """
    if key is None and prefix is None:
        raise typer.BadParameter("a key or --prefix is required", param_hint="KEY")
    if key is not None and prefix is not None:
        raise typer.BadParameter("cannot be combined with KEY", param_hint="--prefix")
    with open_lake(ctx) as lake:
        if dry_run:
            _print_purge(lake.purge(key, prefix, dry_run=True), as_json=as_json)
            return
        what = key if key is not None else f"all keys under {prefix}"
        question = f"Erase {printable(what)} for good, in every snapshot as well?"
        if not confirm(question, yes=yes, as_json=as_json):
            print("nothing was changed")
            return
        with progress_bar("Purging") as advance:
            done = lake.purge(key, prefix, progress=advance)
    _print_purge(done, as_json=as_json)


def _print_purge(done: PurgeReport, *, as_json: bool) -> None:
    if as_json:
        print_json({**done, "snapshots": list(done.snapshots), "remains": list(done.remains)})
        return
    verb = "would forget" if done.dry_run else "forgot"
    print(f"{verb} {entries_in_words(done.entries)} and {done.versions:,} earlier versions")
    print_report({name: done[name] for name in ("bytes", "files", "packs_rewritten", "snapshots")})
    for place in done.remains:
        print(f"may remain in {printable(place)}")


def free(
    ctx: typer.Context,
    delete: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help="Also delete the entries whose keys begin with this."),
    ] = None,
    purge: Annotated[
        str | None,
        typer.Option(
            metavar="PREFIX", help="Also remove them from history and every snapshot, for good."
        ),
    ] = None,
    scratch: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help=(
                "A folder on another disk for a copy of the catalog. Default: the system's "
                "temporary folder."
            ),
        ),
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Free space in a local lake on a full disk. (rm, collect and purge need free space.)

    Removes expired entries, all garbage (without a grace period), and the entries that you name.
    First close the lake in all other programs.

    Examples:

    \b
    lakebed free
    lakebed free --delete logs/2024/ --scratch /mnt/other
    """
    question = "Remove garbage, expired entries and the named entries for good?"
    if refused(question, dry_run=False, yes=yes, as_json=as_json):
        return
    from lakebed.lake.freeing import free as make_room

    done = make_room(folder_name(ctx), delete=delete, purge=purge, scratch=scratch)
    print_json(done) if as_json else print_report(done)
