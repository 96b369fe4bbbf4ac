"""init and stats: commands on a whole lake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import typer

from lakebed.cli.opening import Settings, open_lake
from lakebed.cli.printing.output import Json, print_json, print_report
from lakebed.lake.entries.stats import Upkeep
from lakebed.lake.upkeep.turns import in_words

_APART = ("estimated", "upkeep")


def init(
    ctx: typer.Context,
    inline_threshold: Annotated[
        int | None, typer.Option(help="Keep values of up to this many bytes in the catalog.")
    ] = None,
    history: Annotated[
        Literal["snapshots", "all"] | None,
        typer.Option(help="Which replaced versions to keep: those in snapshots, or all."),
    ] = None,
    history_retention: Annotated[
        float | None, typer.Option(help="With --history all: how many seconds to keep them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Create a lake. An existing lake stays as it is, and different settings are refused.

    Examples:

    \b
    lakebed init
    lakebed --lake memories init --history all
    """
    settings = Settings(inline_threshold, history, history_retention)
    with open_lake(ctx, create=True, settings=settings) as lake:
        name, created = lake.name, lake._created
    if as_json:
        print_json({"lake": name, "created": created})
    else:
        print(f"made a lake: {name}" if created else f"the lake exists already: {name}")


def stats(
    ctx: typer.Context,
    exact: Annotated[
        bool, typer.Option("--exact", help="Count everything. Takes seconds in a large lake.")
    ] = False,
    prometheus: Annotated[
        bool,
        typer.Option("--prometheus", help="Print the figures in the text format of Prometheus."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how much the lake holds, and how much it saves by storing equal contents once.

    In a large lake some figures are estimates. They are marked "about", and in JSON `estimated`
    lists their names. For exact figures use --exact.

    Examples:

    \b
    lakebed stats
    lakebed stats --exact --json
    lakebed stats --prometheus > /var/lib/node_exporter/lakebed.prom
    """
    with open_lake(ctx) as lake:
        found, name = lake.stats(exact=exact), lake.name
    if as_json:
        print_json({"lake": name, **found})
        return
    if prometheus:
        figures = {name: value for name, value in found.items() if isinstance(value, int)}
        print(*_exposition(name, figures | _of_upkeep(found.upkeep)), sep="\n")
        return
    shown = {name: value for name, value in found.items() if name not in _APART}
    if found.upkeep is not None:
        shown["upkeep"] = in_words(found.upkeep)
    print_report({"lake": name, **shown}, estimated=found.estimated)


def _of_upkeep(upkeep: Upkeep | None) -> dict[str, float]:
    """Return the figures of the last upkeep. There are none if the lake was never maintained."""
    if upkeep is None:
        return {}
    found: dict[str, float] = {"upkeep_failed": int(upkeep.failed is not None)}
    if upkeep.ran is not None and upkeep.seconds is not None:
        found["upkeep_last_run_timestamp_seconds"] = round(upkeep.ran.timestamp(), 3)
        found["upkeep_last_run_duration_seconds"] = round(upkeep.seconds, 3)
    return found


def _exposition(lake: str, figures: Mapping[str, float]) -> Iterator[str]:
    """Yield figures in the text format of Prometheus
    (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
    label = lake.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    for name, value in figures.items():
        metric = f"lakebed_{name}"
        yield f"# TYPE {metric} gauge"
        yield f'{metric}{{lake="{label}"}} {value}'
