"""Litestream as a child process: restores a file, copies it, and waits for the copy."""

from __future__ import annotations

import ctypes
import http.client
import json
import logging
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from lakebed.errors import (
    ConnectError,
    DependencyMissingError,
    LakebedError,
    RateLimitedError,
    StorageError,
)
from lakebed.objects.buckets.failures import Failure
from lakebed.waiting import waiting

SYNC_SECONDS = 30.0
_GRACE = 5.0  # seconds for Litestream to report its own time-out
_STOP_SECONDS = 30.0
_START_SECONDS = 15.0
_TRY = 0.02  # seconds between two tries to reach Litestream while it starts
_LOOK = 0.2  # seconds between two checks of the child, and between two tries to sync
_PAUSE = 1.0
"""The seconds to wait for a service that asks to slow down. Litestream does not say how long."""
_ANSWER = re.compile(r'StatusCode: (\d+),.*?api error (\w+): ([^"\\\n]*)')
_DIES_WITH_PARENT = 1  # PR_SET_PDEATHSIG

log = logging.getLogger("lakebed.catalog.litestream")


def program() -> str:
    """Return the path of Litestream's program. Raises DependencyMissingError without it."""
    scripts = Path(sysconfig.get_path("scripts"))
    found = shutil.which("litestream", path=str(scripts)) or shutil.which("litestream")
    if found is None:
        raise DependencyMissingError(
            "this catalog needs Litestream: pip install 'lakebed[litestream]'"
        )
    return found


class _Connection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Litestream:
    """Copies the file `path` to `replica`, which has the form of Litestream's configuration."""

    def __init__(self, path: str, replica: Mapping[str, object], shown: str) -> None:
        self._program = program()
        self._path = path
        self.shown = shown
        # A socket's path must be short. The folder is private, because the file may hold a secret.
        self._folder = tempfile.TemporaryDirectory(prefix="lakebed-ls-", dir="/tmp")
        self._socket = f"{self._folder.name}/socket"
        self._config = f"{self._folder.name}/litestream.json"  # JSON is YAML
        self._log = f"{self._folder.name}/log"
        settings = {
            "dbs": [{"path": path, "monitor-interval": "100ms", "replica": replica}],
            "socket": {"enabled": True, "path": self._socket},
        }
        Path(self._config).write_text(json.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watch = threading.Thread(target=self._run, name="lakebed-litestream", daemon=True)

    def _environment(self) -> dict[str, str]:
        # With this variable, Litestream's AWS library fails on every address that is not Amazon's.
        return {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}

    def restore(self, target: str, patience: float) -> bool:
        """Write the newest copy to `target`, where no file may exist. Return whether there is a
        copy.

        Raises StorageError if the replica cannot be read, and ConnectError if nothing arrives from
        it for `patience` seconds. After an error the lake must not be opened, because a new lake
        would be copied over the old one.
        """
        command = [
            self._program, "restore", "-config", self._config, "-no-expand-env",
            "-if-replica-exists", "-o", target, self._path,
        ]  # fmt: skip
        failed = f"cannot restore from the replica {self.shown}, so the lake is not opened"
        pipe, both = subprocess.PIPE, subprocess.STDOUT
        with (
            waiting(f"still restoring from the replica {self.shown}"),
            subprocess.Popen(
                command, stdout=pipe, stderr=both, text=True,
                env=self._environment(), preexec_fn=_die_with_parent,
            ) as process,
        ):  # fmt: skip
            try:
                told = _wait(process, f"{target}.tmp", patience)
            finally:
                process.kill()  # does nothing if it has ended
        if told is None:
            silent = f"{failed}: nothing has come from it for {patience:g} seconds"
            raise ConnectError(silent, "connection_timeout")
        if process.returncode:
            raise _refusal(failed, told) or StorageError(f"{failed}: {_reason(told)}")
        return os.path.exists(target)

    def start(self) -> None:
        """Start to copy, until `stop`. A child that ends is started again."""
        self._watch.start()
        end = time.monotonic() + _START_SECONDS
        while True:
            try:
                self._ask("GET", "/list", None, 1.0)
                return
            except OSError:
                if time.monotonic() > end:
                    reason = _reason(self.told())  # before the log is deleted
                    self.stop()
                    raise StorageError(f"Litestream does not start: {reason}") from None
                time.sleep(_TRY)

    def _run(self) -> None:
        """Run the child in a thread that lives as long. The child dies with its parent."""
        while not self._stopping.is_set():
            with open(self._log, "ab") as said:
                self._process = subprocess.Popen(
                    [self._program, "replicate", "-config", self._config, "-no-expand-env"],
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                    env=self._environment(), preexec_fn=_die_with_parent,
                )  # fmt: skip
            while self._process.poll() is None and not self._stopping.wait(_LOOK):
                pass
            if not self._stopping.is_set():
                log.warning("Litestream ended, and is started again: %s", _reason(self.told()))
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # it copies the rest
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def sync(self) -> None:
        """Wait until every commit is in the replica.

        Raises ConnectError if that is not confirmed within 30 seconds, and RateLimitedError if the
        replica's service asks to slow down.
        """
        with waiting(f"the replica {self.shown} has yet to confirm a commit"):
            self._sync()

    def _sync(self) -> None:
        failed = f"the replica {self.shown} does not confirm a commit, which is in the local file"
        end, told, refusal = time.monotonic() + SYNC_SECONDS, "", None
        while (rest := end - time.monotonic()) > 0:
            asked = {"path": self._path, "wait": True, "timeout": math.ceil(rest)}
            try:
                status, told = self._ask("POST", "/sync", asked, rest + _GRACE)
            except OSError as error:  # the child is being started again
                told = str(error)
            else:
                if status == 200:
                    return
                refusal = _refusal(failed, told) or refusal
            time.sleep(_LOOK)
        raise refusal or ConnectError(f"{failed}: {_reason(told)}", "connection_timeout")

    def lag(self) -> str:
        """Return Litestream's report on its last copy."""
        _, answer = self._ask("GET", "/list", None, 5.0)
        return str(json.loads(answer)["databases"][0].get("last_sync_at", "never"))

    def _ask(self, method: str, path: str, body: object, timeout: float) -> tuple[int, str]:
        connection = _Connection(self._socket, timeout)
        try:
            said = None if body is None else json.dumps(body)
            connection.request(method, path, said, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except http.client.HTTPException as error:
            raise OSError(str(error) or type(error).__name__) from error
        finally:
            connection.close()

    def told(self) -> str:
        """Return the end of Litestream's output."""
        with open(self._log, errors="replace") as said:
            return said.read()[-2000:]

    def stop(self) -> None:
        """Copy the rest, and end the child."""
        self._stopping.set()
        if self._watch.is_alive():
            self._watch.join()
        self._folder.cleanup()


def _wait(process: subprocess.Popen[str], path: str, patience: float) -> str | None:
    """Return the output of a process that writes the file `path`.

    Returns None if the file does not grow for `patience` seconds.
    """
    size, end = -1, 0.0
    while True:
        try:
            return process.communicate(timeout=_LOOK)[0]
        except subprocess.TimeoutExpired:
            found = os.path.getsize(path) if os.path.exists(path) else 0
        if found != size:  # Litestream itself would try for minutes
            size, end = found, time.monotonic() + patience
        if time.monotonic() >= end:
            return None


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGTERM)


def _refusal(failed: str, told: str) -> LakebedError | None:
    """Return the error for an answer of S3 in Litestream's output, if it has a class of its own."""
    answer = _ANSWER.search(told)
    if answer is None:
        return None
    failure = Failure(answer[3], answer[2], int(answer[1]))
    if failure.throttled:
        return RateLimitedError(f"{failed}: the service asks to slow down: {failure.told}", _PAUSE)
    if failure.refused:
        return ConnectError(f"{failed}: the credentials are refused: {failure.told}", "auth_failed")
    return None


def _reason(told: str) -> str:
    lines = told.strip().splitlines()
    return lines[-1][:400] if lines else "no reason given"
