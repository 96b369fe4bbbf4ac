"""init and stats: commands about a lake as a whole."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lakebed.cli.opening import Settings, is_absent, lake_name, open_lake
from lakebed.cli.output import Json, print_json, print_report


def init(
    ctx: typer.Context,
    inline_threshold: Annotated[
        int | None, typer.Option(help="Values up to so many bytes stay in the catalog.")
    ] = None,
    history: Annotated[
        Literal["snapshots", "all"] | None,
        typer.Option(help="Which replaced versions to keep: those that snapshots see, or all."),
    ] = None,
    history_retention: Annotated[
        float | None, typer.Option(help="With --history all: for how many seconds to keep them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a lake. One that is there already is left as it is; other settings are refused then.

    Examples:

    \b
    lakebed init
    lakebed --lake memories init --history all
    """
    created = is_absent(lake_name(ctx))
    settings = Settings(inline_threshold, history, history_retention)
    with open_lake(ctx, create=True, settings=settings) as lake:
        name = lake.name
    if as_json:
        print_json({"lake": name, "created": created})
    else:
        print(f"made a lake: {name}" if created else f"a lake is there already: {name}")


def stats(
    ctx: typer.Context,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count all, which takes seconds in a large lake.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what the lake holds, and what sharing equal contents saves.

    Of a large lake some figures are estimates, which say "about"; in JSON `estimated` names them.

    Examples:

    \b
    lakebed stats
    lakebed stats --exact --json
    """
    with open_lake(ctx) as lake:
        found, name = lake.stats(exact=exact), lake.name
    if as_json:
        print_json({"lake": name, **found})
        return
    figures = {name: value for name, value in found.items() if name != "estimated"}
    print_report({"lake": name, **figures}, estimated=found.estimated)
