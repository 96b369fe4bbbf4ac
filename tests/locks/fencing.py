"""What locks protect in the tests, and a checker of their turns."""

from __future__ import annotations

import fcntl
from pathlib import Path


class StaleTokenError(Exception):
    """A write came with a token that is lower than one seen before."""


class Resource:
    """A file that refuses who comes with an old token."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, token: int, word: str) -> None:
        """Append a line. Raises StaleTokenError if a higher token has written."""
        with self._path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            seen = [int(line.split()[0]) for line in file]
            if seen and token < max(seen):
                raise StaleTokenError(f"{token} is lower than {max(seen)}")
            file.write(f"{token} {word}\n")

    def lines(self) -> list[str]:
        """What was written."""
        return self._path.read_text().splitlines()


def check_turns(path: Path, count: int) -> None:
    """Each turn that was noted had a token of its own, tokens grew in the order of the turns, and
    no turn began before the one before it had ended."""
    entered: dict[int, int] = {}
    left: dict[int, int] = {}
    for line in path.read_text().splitlines():
        word, token, when, _ = line.split()
        noted = entered if word == "enter" else left
        assert int(token) not in noted, f"two owners had the token {token}"
        noted[int(token)] = int(when)
    assert len(entered) == len(left) == count
    end = 0
    for token in sorted(entered):
        assert entered[token] > end, f"the turn {token} began before the last one had ended"
        end = left[token]
