"""The file in which a command keeps its position for the next run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakebed.errors import ValidationError

CursorFile = Annotated[
    Path | None,
    typer.Option(
        "--cursor",
        metavar="FILE",
        help="Keep the position in this file, and continue from it next time.",
    ),
]
Interval = Annotated[
    float, typer.Option(min=0.01, metavar="SECONDS", help="How often to look for changes.")
]
Once = Annotated[bool, typer.Option("--once", help="Check once, then exit.")]


def kept_cursor(file: Path | None) -> str | None:
    """Return the cursor in a file, or None if the file does not exist yet."""
    try:
        return None if file is None else file.read_text().strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ValidationError(f"cannot read the cursor in {file}: {error}") from error


def keep_cursor(file: Path | None, cursor: str) -> None:
    """Write the cursor to a file. A crash leaves the old file or the new one, but no part of it."""
    if file is None:
        return
    new = file.with_name(f"{file.name}.new")
    new.write_text(f"{cursor}\n")
    new.replace(file)
