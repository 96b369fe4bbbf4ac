"""The conformance suite of the protocol, run as it is against the server over HTTP.

Scenarios that ask for the tools and prompts of a demonstration server do not concern ours.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

import lakebed
from tests.servers import free_port

SCENARIOS = (
    "server-initialize", "ping", "tools-list", "resources-list", "resources-subscribe",
    "resources-unsubscribe", "prompts-list", "server-sse-multiple-streams",
    "dns-rebinding-protection",
)  # fmt: skip
SUITE = Path(
    sys.prefix, "conformance", "node_modules", "@modelcontextprotocol", "conformance", "dist",
    "index.js",
)  # fmt: skip
_LEAST_NODE = 22
MAIN = "from lakebed.cli import main; main()"


def node() -> str | None:
    """A Node.js that is new enough for the suite."""
    places = [str(Path(sys.prefix, "bin")), os.environ.get("PATH", "")]
    for program in filter(None, (shutil.which("node", path=place) for place in places)):
        version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        if int(version.stdout.lstrip("v").partition(".")[0]) >= _LEAST_NODE:
            return program
    return None


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    with lakebed.open(folder / "lake") as lake:
        lake["k"] = {"a": 1}
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "--lake", str(folder / "lake"), "mcp", "--transport", "http",
         "--port", str(port)],
        env={name: value for name, value in os.environ.items() if name != "LAKEBED_MCP_TOKEN"},
    ) as server:  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"
        server.terminate()


def test_conformance(
    url: str, tmp_path: Path, require_server: Callable[[str, str], NoReturn]
) -> None:
    program = node()
    if program is None or not SUITE.exists():
        require_server(
            "the conformance suite of MCP",
            f"Node.js {_LEAST_NODE} and npm install --prefix {sys.prefix}/conformance "
            "@modelcontextprotocol/conformance",
        )
    for scenario in SCENARIOS:
        ran = subprocess.run(
            [program, SUITE, "server", "--url", url, "--scenario", scenario],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "0 failed" in ran.stdout, ran.stdout
