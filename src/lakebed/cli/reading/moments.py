"""Moments of a lake, as arguments of commands name them."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from lakebed import Lake
from lakebed.cli.reading.values import timestamp
from lakebed.errors import ValidationError
from lakebed.lake.history.snapshots import LakeView

Moment: TypeAlias = str


def moment_of(lake: Lake, text: Moment) -> str | datetime | int:
    """Return the name or id of a snapshot. If the lake keeps all history, also a time or a
    version."""
    if any(text in (snapshot.name, snapshot.id) for snapshot in lake.snapshots()):
        return text
    if text.isdecimal():
        return int(text)
    try:
        return timestamp(text)
    except ValidationError:
        return text  # the lake raises the error if no such snapshot exists


def view(lake: Lake, at: Moment | None) -> Lake | LakeView:
    """Return the lake, or the lake as it was at a moment."""
    return lake if at is None else lake.at(moment_of(lake, at))
