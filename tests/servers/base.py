"""What all private servers share."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

PASSWORD = "s3cret-of-tests"  # noqa: S105 - of servers that live for one run
PATIENCE = 150
"""Seconds that a server may take to start or to end, on a machine that has much else to do."""
_USER = "nobody"
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG

Missing = Callable[[str, str], NoReturn]


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": _USER, "group": nobody_group(), "extra_groups": []}


def nobody_group() -> int:
    """The group of the user that servers run as."""
    import pwd

    return pwd.getpwnam(_USER).pw_gid


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder with a short path, as sockets need it, that the servers' user owns."""
    folder = Path(tempfile.mkdtemp(prefix="lakebed-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _USER)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_data(source: Path, target: Path) -> None:
    """Copy the data of a server that does not run, with its owner and rights."""
    subprocess.run(["cp", "-a", source, target], check=True)


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens on a port."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)
