"""Firestore: Google's emulator where the machine has it, else one from npm."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.servers import Missing, server_folder
from tests.services.process import ServerProcess, node

JAR = Path(
    "/usr/lib/google-cloud-sdk/platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
)
_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


class FirestoreServer:
    """A server that speaks Firestore, and lets everybody in.

    `is_googles` says whose it is: the one from npm loses updates in transactions, so what is tested
    about races holds on Google's alone.
    """

    def __init__(self, process: ServerProcess, *, is_googles: bool) -> None:
        self.process = process
        self.port = process.port
        self.is_googles = is_googles
        self.host = f"127.0.0.1:{self.port}"
        """As FIRESTORE_EMULATOR_HOST takes it."""

    def create_project(self) -> str:
        """The name of a project that nobody uses: each has a database of its own."""
        return f"t-{secrets.token_hex(6)}"

    def client(self, project: str) -> Any:
        """A client of Google's library, which the caller closes."""
        from google.cloud.firestore import Client

        with patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=self.host):
            return Client(project=project)


def _googles(folder: Path) -> ServerProcess | None:
    java = shutil.which("java")
    if java is None or not JAR.exists():
        return None
    return ServerProcess(
        folder,
        lambda port: [
            java, "-Duser.language=en", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m",
            "-XX:-UsePerfData",  # a file in /tmp
            f"-Djava.io.tmpdir={folder}", "-cp", JAR, _MAIN,
            "--host", "127.0.0.1", "--port", str(port),
        ],
    )  # fmt: skip


def _from_npm(folder: Path) -> ServerProcess | None:
    program = node()
    modules = Path(sys.prefix, "firestore", "node_modules")
    if program is None or not modules.is_dir():
        return None
    script = Path(__file__).with_name("firestore.cjs")
    return ServerProcess(folder, lambda port: [program, script, modules, str(port)])


Emulator = Callable[[Path], ServerProcess | None]


@contextmanager
def running_firestore(require_server: Missing, *emulators: Emulator) -> Iterator[FirestoreServer]:
    """The first of these that can be had, which keeps its documents in memory."""
    with server_folder() as folder:
        for emulator in emulators or (_googles, _from_npm):
            process = emulator(folder)
            if process is not None:
                break
        else:
            require_server(
                "Firestore",
                f"neither Java and {JAR}, nor Node.js and "
                f"npm install --prefix {sys.prefix}/firestore @firestore-emulator/server",
            )
        process.start()
        try:
            yield FirestoreServer(process, is_googles=emulator is _googles)
        finally:
            process.stop()


@pytest.fixture(scope="session")
def firestore(require_server: Missing) -> Iterator[FirestoreServer]:
    """Firestore."""
    with running_firestore(require_server) as server:
        yield server


@pytest.fixture
def private_firestore(require_server: Missing) -> Iterator[FirestoreServer]:
    """A server of the test's own, to be killed or paused."""
    with running_firestore(require_server) as server:
        yield server
