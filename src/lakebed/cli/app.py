"""The commands and the options that they share."""

from __future__ import annotations

from typing import Annotated

import typer

import lakebed
from lakebed.cli import (
    config,
    entries,
    lakes,
    maintenance,
    mcp,
    publishing,
    search,
    snapshots,
    sql,
    transfer,
)
from lakebed.cli.demo.command import demo
from lakebed.cli.errors import ReportingGroup
from lakebed.cli.sessions.command import session

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
            help="The lake: a folder, the URL of a catalog, or a configuration file; left out, "
            "./lakebed.yaml if it is there, or else the folder ./lakebed.",
        ),
    ] = None,
    read_only: Annotated[  # noqa: ARG001 - commands ask `opening.open_lake`
        bool,
        typer.Option(
            "--read-only",
            envvar="LAKEBED_READ_ONLY",
            help="Touch no file of the lake; commands that write are refused.",
        ),
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Long-term memory on a data lake: values under keys, kept in the folder ./lakebed.

    Another lake is named by --lake, by the environment variable LAKEBED, or by a
    configuration file ./lakebed.yaml. Only init, put and
    import make a lake that is not there.

    Exit codes: 0 done; 1 a key was not found; 2 wrong use, or the lake could not do it;
    130 interrupted.

    Examples:

    \b
    lakebed put user/42/name Ada --metadata '{"source": "chat"}'
    lakebed get user/42/name
    lakebed ls user/42/ --long
    lakebed --lake other/lake stats
    """
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


app.command("init")(lakes.init)
app.command("put")(entries.put)
app.command("get")(entries.get)
app.command("ls")(entries.ls)
app.command("rm")(entries.rm)
app.command("search")(search.search)
app.command("sql")(sql.sql)
app.command("import")(transfer.import_)
app.command("export")(transfer.export)
app.add_typer(snapshots.snapshot, name="snapshot")
app.command("diff")(snapshots.diff)
app.command("history")(snapshots.history)
app.command("restore")(snapshots.restore)
app.add_typer(session, name="session")
app.command("mcp")(mcp.mcp)
app.command("publish")(publishing.publish)
app.command("presign")(publishing.presign)
app.command("stats")(lakes.stats)
app.command("verify")(maintenance.verify)
app.command("maintain")(maintenance.maintain)
app.command("cleanup-expired")(maintenance.cleanup_expired)
app.command("compact")(maintenance.compact)
app.command("collect")(maintenance.collect)
app.command("purge")(maintenance.purge)
app.command("free")(maintenance.free)
app.add_typer(config.config, name="config")
app.command("doctor")(config.doctor)
app.command("demo")(demo)
