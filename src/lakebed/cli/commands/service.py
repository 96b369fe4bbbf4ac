"""maintain --every: upkeep as a service."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import typer

from lakebed.cli.errors import report
from lakebed.cli.opening import open_lake
from lakebed.cli.printing.output import moment, printable, to_json
from lakebed.errors import LakebedError
from lakebed.lake.entries.stats import Upkeep
from lakebed.lake.lake import Lake
from lakebed.lake.upkeep.maintenance import MaintenanceReport


def maintain_every(
    ctx: typer.Context,
    seconds: float,
    run: Callable[[Lake], MaintenanceReport | None],
    *,
    as_json: bool,
) -> NoReturn:
    """Maintain the lake at an interval, until interrupted or terminated.

    Each run opens the lake and closes it. If a run fails, for example because a database is down,
    the error is printed and the next run tries again. `run`: maintains the lake, and returns None
    if it is another process's turn.
    """
    signal.signal(signal.SIGTERM, _end)
    while True:
        begun = time.monotonic()
        try:
            with open_lake(ctx) as lake:
                done = run(lake)
                other = None if done is not None else lake.stats().upkeep
        except LakebedError as error:
            report(error, as_json=as_json)
        else:
            if done is not None:
                line = _line(done, time.monotonic() - begun, as_json=as_json)
            else:
                assert other is not None
                line = _left(other, as_json=as_json)
            print(line, flush=True)
        time.sleep(max(0.0, seconds - (time.monotonic() - begun)))


def _end(*_: object) -> NoReturn:
    """Exit with code 0. Stopping a service is not a failure."""
    raise SystemExit(0)


def _line(done: MaintenanceReport, took: float, *, as_json: bool) -> str:
    now = datetime.now(UTC)
    if as_json:
        return to_json({"at": now, "seconds": round(took, 3), **done})
    more = "" if done.finished else ", to be continued"
    return (
        f"{moment(now)}  removed {done.expired:,} expired, {done.history:,} versions, "
        f"{done.collected.objects:,} contents, {done.collected.files:,} files in {took:.1f} s{more}"
    )


def _left(other: Upkeep, *, as_json: bool) -> str:
    """Return a line that says which other process maintains the lake, or has just done so."""
    now = datetime.now(UTC)
    if as_json:
        return to_json({"at": now, "left_to": other.holder or other.by})
    if other.holder is not None:
        return f"{moment(now)}  nothing to do: {printable(other.holder)} is maintaining the lake"
    by = printable(other.by or "another process")
    return f"{moment(now)}  nothing to do: {by} has maintained the lake"
