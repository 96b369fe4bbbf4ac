"""Moments of a lake as the command line names them."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from lakebed import Lake
from lakebed.cli.values import timestamp
from lakebed.errors import ValidationError
from lakebed.lake.history.snapshots import LakeView

Moment: TypeAlias = str


def moment_of(lake: Lake, text: Moment) -> str | datetime | int:
    """A snapshot by its name or id; else, where all history is kept, a time or a version."""
    if any(text in (snapshot.name, snapshot.id) for snapshot in lake.snapshots()):
        return text
    if text.isdecimal():
        return int(text)
    try:
        return timestamp(text)
    except ValidationError:
        return text  # and not found, as the lake will say


def view(lake: Lake, at: Moment | None) -> Lake | LakeView:
    """The lake as it is, or as it was."""
    return lake if at is None else lake.at(moment_of(lake, at))
