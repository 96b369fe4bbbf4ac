"""One line for an entry or a version: complete in a pipe, cut to the width of a terminal."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size
from rich.filesize import decimal

from lakebed.cli.printing.output import moment, printable, to_json
from lakebed.lake.history.versions import Version
from lakebed.records import Entry

_HASHED = 100  # columns: a narrower terminal has no room for a version's hash


def terminal_width() -> int | None:
    """Return the number of columns of the terminal, or None if the output is a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def entry_line(entry: Entry, width: int | None) -> str:
    """Return size, format, time, expiry, key and metadata on one line.

    If `width` is given, the line is cut to it. A key loses its beginning, because listed keys begin
    alike. Metadata lose their end.
    """
    left = entry.expires_at
    expires = "-" if left is None else f"in {_duration((left - datetime.now(UTC)).total_seconds())}"
    key, metadata = printable(entry.key), printable(to_json(entry.metadata))
    line = f"{decimal(entry.byte_size):>9}  {entry.format:<7}  "
    if width is None:
        return f"{line}{moment(entry.updated_at)}  {expires:<7}  {key}  {metadata}"
    line += f"{_minute(entry.updated_at)}  {expires:<7}  "
    room = max(0, width - len(line) - 2)
    keys = room * 3 // 5
    return f"{line}{_fit(key, keys, front=True)}  {_fit(metadata, room - keys)}".rstrip()


def version_line(version: Version, width: int | None) -> str:
    """Return version, times, size, hash and metadata on one line, cut to `width`. The hash is left
    out if the terminal is narrow."""
    until = "now" if version.ended_at is None else moment(version.ended_at)
    metadata = printable(to_json(version.metadata))
    line = (
        f"{version.version:>9}  {moment(version.updated_at)} to {until:<20}  "
        f"{decimal(version.byte_size):>9}  "
    )
    if width is None or width >= _HASHED:
        line += f"{version.content_hash[:19]}  "
    return (
        (line + metadata) if width is None else (line + _fit(metadata, width - len(line))).rstrip()
    )


def cut(line: str, width: int | None) -> str:
    """Return a line cut to `width` columns."""
    return line if width is None else _fit(line, width).rstrip()


def _fit(text: str, width: int, *, front: bool = False) -> str:
    """Return a text in exactly `width` columns. It is padded, or cut with an ellipsis at one end.

    `front`: cut the beginning instead of the end.
    """
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    if width < 1:
        return ""
    if not front:
        return set_cell_size(text, width - 1) + "…"
    while cell_len(text) > width - 1:
        text = text[1:]
    return set_cell_size("…" + text, width)


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
