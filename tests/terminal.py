"""A terminal for tests and pictures: commands run at a pseudo-terminal, and what it then shows."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

import pyte

ROWS = 4000


class Shown:
    """What a terminal shows when a command has ended, and how the command ended."""

    def __init__(self, printed: bytes, columns: int, status: int) -> None:
        self.printed = printed
        self.columns = columns
        self.status = status
        self.screen = pyte.Screen(columns, ROWS)
        pyte.ByteStream(self.screen).feed(printed)

    def too_long(self) -> list[str]:
        """The lines that were longer than the terminal is wide, which it has broken anywhere."""
        wider = Shown(self.printed, 1000, self.status)
        return [line for line in wider.lines if len(line) > self.columns]

    @property
    def lines(self) -> list[str]:
        """The lines, without the empty ones at the end."""
        # Not `display`: it renders all rows of the screen, most of which nobody wrote to.
        written = range(max(self.screen.buffer, default=-1) + 1)
        rows = (self.screen.buffer[number] for number in written)
        lines = ["".join(row[at].data for at in range(max(row, default=-1) + 1)) for row in rows]
        lines = [line.rstrip() for line in lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def run_at_terminal(
    command: str, folder: Path, environment: Mapping[str, str], *, columns: int = 80
) -> Shown:
    """Run a line of bash at a terminal of so many columns, and wait for its end."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env={**environment, "TERM": "xterm-256color"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    ) as process:
        os.close(follower)
        parts = []
        while part := read(leader):
            parts.append(part)
    os.close(leader)
    return Shown(b"".join(parts), columns, process.returncode)


def read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # so Linux says that the last writer has gone
        return b""
