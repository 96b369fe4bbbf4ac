"""The commands and the options that they share."""

from __future__ import annotations

from typing import Annotated

import typer

import lakebed
from lakebed.cli.commands import (
    append,
    backups,
    config,
    copy,
    entries,
    lakes,
    maintenance,
    mcp,
    publishing,
    relocating,
    run,
    search,
    snapshots,
    transfer,
    watch,
)
from lakebed.cli.commands.demo.command import demo
from lakebed.cli.commands.sessions.command import session
from lakebed.cli.commands.sql.command import sql
from lakebed.cli.errors import ReportingGroup
from lakebed.cli.printing.output import show_waiting

app = typer.Typer(
    cls=ReportingGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"lakebed {lakebed.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def options(
    ctx: typer.Context,
    lake: Annotated[  # noqa: ARG001 - commands ask `opening.lake_name`
        str | None,
        typer.Option(
            envvar="LAKEBED",
            metavar="DIR_OR_URL_OR_YAML",
            help=(
                "The lake: a folder, the URL of a catalog, or a configuration file. Default: "
                "./lakebed.yaml if it exists, else the folder ./lakebed."
            ),
        ),
    ] = None,
    read_only: Annotated[  # noqa: ARG001 - commands ask `opening.open_lake`
        bool,
        typer.Option(
            "--read-only",
            envvar="LAKEBED_READ_ONLY",
            help="Open the lake read-only: no file is touched, and commands that write fail.",
        ),
    ] = False,
    timeout: Annotated[  # noqa: ARG001 - commands ask `opening.open_lake`
        float | None,
        typer.Option(
            metavar="SECONDS",
            envvar="LAKEBED_TIMEOUT",
            min=0.1,
            help="How long to wait for a server, a bucket or a lock that does not answer.",
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Long-term memory on a data lake: values under keys, kept in the folder ./lakebed.

    To use another lake, give --lake, set the environment variable LAKEBED, or write a
    configuration file ./lakebed.yaml. Only init, put, append and import create a lake that
    does not exist; in an empty database of a server, any command does.

    Exit codes: 0 success; 1 a key was not found; 2 wrong usage, or a failure; 130 interrupted.

    Examples:

    \b
    lakebed put user/42/name Ada --metadata '{"source": "chat"}'
    lakebed get user/42/name
    lakebed ls user/42/ --long
    lakebed --lake other/lake stats
    """
    show_waiting()
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


# The list of commands shows the short help: a line of 80 columns has room for 58 characters.
app.command("init")(lakes.init)
app.command("put")(entries.put)
app.command("append", short_help="Append rows to a stored table.")(append.append)
app.command("get")(entries.get)
app.command("ls")(entries.ls)
app.command("touch")(entries.touch)
app.command("rm")(entries.rm)
app.command("search", short_help="Find entries by words, the best match first.")(search.search)
app.command("sql")(sql)
app.command("import")(transfer.import_)
app.command("export", short_help="Write entries as NDJSON, one per line.")(transfer.export)
app.command("copy")(copy.copy)
app.command("backup", short_help="Back up the lake as it is now.")(backups.backup)
app.command("backups")(backups.backups)
app.command("prune-backups", short_help="Remove all points of a backup but the newest.")(
    backups.prune_backups
)
app.command("restore-backup", short_help="Restore a backup to a new or empty lake.")(
    backups.restore_backup
)
app.command("restore-contents", short_help="Bring back contents that the storage has lost.")(
    backups.restore_contents
)
app.command("rebuild-catalog", short_help="Rebuild a lost catalog from a backup.")(
    backups.rebuild_catalog
)
app.add_typer(snapshots.snapshot, name="snapshot")
app.command("diff", short_help="Show what differs between two snapshots, or since one.")(
    snapshots.diff
)
app.command("watch", short_help="Print what changes in the lake, from now on.")(watch.watch)
app.command("history")(snapshots.history)
app.command("restore")(snapshots.restore)
app.add_typer(
    session, name="session", short_help="Sessions, memories, tasks and artifacts of agents."
)
app.command("mcp", short_help="Serve the lake to agents over MCP.")(mcp.mcp)
app.command("run", short_help="Run the steps of a YAML file.")(run.run)
app.command("publish", short_help="Write the lake as Parquet files for other programs.")(
    publishing.publish
)
app.command("presign", short_help="Print a URL that gives access to one content.")(
    publishing.presign
)
app.command("stats", short_help="Show how much the lake holds.")(lakes.stats)
app.command("verify", short_help="Read the contents and check their hashes.")(maintenance.verify)
app.command("maintain")(maintenance.maintain)
app.command("cleanup-expired")(maintenance.cleanup_expired)
app.command("compact", short_help="Move values from the catalog to packs.")(maintenance.compact)
app.command("collect", short_help="Remove contents to which nothing refers.")(maintenance.collect)
app.command("purge", short_help="Erase keys for good, from snapshots too.")(maintenance.purge)
app.command("adopt")(relocating.adopt)
app.command("relocate", short_help="Tell a lake that its objects are in another storage.")(
    relocating.relocate
)
app.command("free", short_help="Free space in a local lake on a full disk.")(maintenance.free)
app.add_typer(config.config, name="config")
app.command("doctor", short_help="Test the configuration, the catalog and the storage.")(
    config.doctor
)
app.command("demo", short_help="Show what Lakebed does, on real data.")(demo)
