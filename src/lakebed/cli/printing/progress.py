"""Progress bars on standard error, when a terminal is attached."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from lakebed.model import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """Show a bar that counts entries. Yields a function for `progress=`, or None without a
    terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    with _bars() as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def reading_bar(what: str, file: BinaryIO, total: int) -> Iterator[BinaryIO]:
    """Show a bar that moves while the yielded file is read. `total`: its size in bytes."""
    if not sys.stderr.isatty():
        yield file
        return
    with _bars(of_bytes=True) as bars, bars.wrap_file(file, total, description=what) as wrapped:
        yield wrapped


def _bars(*, of_bytes: bool = False) -> Bars:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
