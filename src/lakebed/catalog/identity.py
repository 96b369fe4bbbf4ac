"""What distinguishes a catalog from its copies."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

import os
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable


class Identity(NamedTuple):
    """Where a catalog physically is, in two texts without secrets.

    `exact` differs in every copy, and also changes when the catalog itself moves, for example when
    a standby is promoted. `likely` stays the same when it moves, but differs in a copy that was
    made by a dump or of a file. So a catalog with another `exact` may be a copy; if both differ, it
    is one.
    """

    exact: str
    likely: str


@runtime_checkable
class Owned(Protocol):
    """A catalog that can be told from its copies. An outside catalog need not offer this."""

    def identity(self) -> Identity | None:
        """Return where the catalog is, or None if that cannot be told."""
        ...

    def change_setting(self, name: str, change: Callable[[str | None], str]) -> str:
        """Replace a setting by what `change` makes of it (it gets None if there is none), in one
        transaction. Returns the new value. `change` may be called more than once."""
        ...


def identity_of_file(path: str | os.PathLike[str]) -> Identity | None:
    """Return the identity of a database in a file. A moved file keeps its number; a file that was
    restored in its place keeps its path; a copy keeps neither."""
    try:
        return Identity(f"inode:{os.stat(path).st_ino}", f"path:{os.path.realpath(path)}")
    except OSError:  # not created yet
        return None
