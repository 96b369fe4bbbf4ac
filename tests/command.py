"""Commands for tests that start them by the dozen: each is a process of its own, forked from one
that has imported Lakebed, and takes 0.1 seconds of a processor in place of 0.45. `lakebed` stands
for the command that is installed, which `tests/test_packaging.py` and `tests/cli` start, and
`module` for `python -m` with the name of a module of the tests."""

from __future__ import annotations

import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

import pytest

from tests.servers import die_with_parent

PROJECT = Path(__file__).parents[1]
# It hands over its files, and ends as the command does.
_COMMAND = """#!{python} -IS
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
said = json.dumps(
    [{name!r}, sys.argv[1:], os.getcwd(), os.umask(0), dict(os.environ)]).encode()
socket.send_fds(connection, [b"%12d" % len(said)], [0, 1, 2])
connection.sendall(said)
code = int(connection.recv(12))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@pytest.fixture(scope="session")
def forked_command() -> Iterator[Path]:
    """A folder for the PATH, with a `lakebed` and a `module` that start at once."""
    with tempfile.TemporaryDirectory(prefix="lakebed-", dir="/tmp") as name:  # a short path
        folder, address = Path(name), f"{name}/socket"
        for kind in ("lakebed", "module"):
            text = _COMMAND.format(python=sys.executable, address=address, name=kind)
            (folder / kind).write_text(text)
            (folder / kind).chmod(0o755)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.command", address],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=PROJECT,
            preexec_fn=die_with_parent,
        ) as server:  # fmt: skip
            assert server.stdout is not None
            assert server.stdout.read(1)  # it listens
            yield folder
            server.kill()


def _serve(address: str) -> None:
    # What commands import, but not DuckDB: its import begins threads, for which a fork would wait
    # at its end.
    import s3fs  # noqa: F401
    import typer.main

    import lakebed.catalog.postgres.executor
    import lakebed.catalog.sqlite.batch
    import lakebed.cli.app
    import lakebed.config.reading.loading
    import lakebed.files
    import lakebed.lake.lake
    import lakebed.sessions

    build = functools.cache(typer.main.get_command)
    build(lakebed.cli.app.app)
    patch("typer.main.get_command", build).start()
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen(64)
        os.write(1, b".")
        os.dup2(0, 1)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            connection, _ = listening.accept()
            if not os.fork():
                break
            connection.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _attend(connection)


def _attend(connection: socket.socket) -> NoReturn:
    """Run a command, unless who asked for it goes away, and say how it ended."""
    size, files, _, _ = socket.recv_fds(connection, 12, 3)
    with connection.makefile("rb") as stream:
        kind, arguments, folder, mask, environment = json.loads(stream.read(int(size)))
    number = os.fork()
    if not number:
        connection.close()
        for file, standard in zip(files, range(3), strict=True):
            os.dup2(file, standard)
            os.close(file)
        _run(kind, arguments, folder, mask, environment)
    for file in files:
        os.close(file)
    gone = connection.fileno()
    if gone in select.select([gone, os.pidfd_open(number)], [], [])[0]:
        os.kill(number, signal.SIGTERM if kind == "lakebed" else signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    with suppress(BrokenPipeError):
        connection.sendall(b"%d" % code)
    os._exit(0)


def _run(
    kind: str, arguments: list[str], folder: str, mask: int, environment: dict[str, str]
) -> NoReturn:
    from lakebed.cli import main

    os.chdir(folder)
    os.umask(mask)
    os.environ.clear()
    os.environ.update(environment)
    code = 0
    try:
        if kind == "module":
            sys.argv = arguments
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [kind, *arguments]
            main()
    except SystemExit as end:
        if isinstance(end.code, str):  # as Python does with it
            print(end.code, file=sys.stderr)
        code = 1 if isinstance(end.code, str) else end.code or 0
    except Exception:  # noqa: BLE001 - of a module of the tests: as Python does with it
        traceback.print_exc()
        code = 1
    # To take down all that was imported takes ten times as long as most commands.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
