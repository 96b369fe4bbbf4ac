"""Tells the commits of a connection apart, to settle a commit whose answer was lost."""

from __future__ import annotations

import secrets


class Writer:
    """A connection's row in the table `writer`. `token`: the number of its latest commit."""

    __slots__ = ("id", "token")

    def __init__(self) -> None:
        self.id = secrets.randbits(63)
        self.token = 0
