"""Whether a command may change the lake: its options, and a question at a terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lakebed.errors import ValidationError

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def confirm(question: str, *, yes: bool, as_json: bool) -> bool:
    """Ask a question at a terminal, and return the answer.

    Without a terminal nobody can be asked: raises a ValidationError that names --yes.
    """
    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        raise ValidationError(
            "this changes the lake: add --yes to do it, or --dry-run to see what it would do"
        )
    return typer.confirm(question, err=True)


def refused(question: str, *, dry_run: bool, yes: bool, as_json: bool) -> bool:
    """Ask a question at a terminal, and return whether the answer is no.

    Without a terminal or with --json, nobody is asked and the command runs, so that cron jobs work.
    """
    if dry_run or yes or as_json or not sys.stdin.isatty() or typer.confirm(question, err=True):
        return False
    print("nothing was changed")
    return True
