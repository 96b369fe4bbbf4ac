"""The MCP server over standard input and output, over HTTP, and in many processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters

import lakebed
from lakebed.errors import ConfigurationError
from lakebed.lake.lake import Lake
from lakebed.mcp.http import BearerToken, http_app
from lakebed.mcp.server import build_server
from lakebed.sessions import SessionManager
from tests.servers import free_port
from tests.serving.clients import call, with_client

TOKEN = "a-token-of-the-tests"  # noqa: S105
MAIN = "from lakebed.cli import main; main()"


def stdio(folder: Path, *arguments: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-c", MAIN, "--lake", str(folder / "lake"), *arguments],
        env=dict(os.environ),
    )


def test_stdio(tmp_path: Path) -> None:
    async def work(client: Client) -> None:
        await call(client, "store", key="a", value={"b": 1})
        assert (await call(client, "retrieve", key="a"))["value"] == {"b": 1}

    with_client(stdio(tmp_path, "mcp"), work)
    with lakebed.open(tmp_path / "lake") as lake:
        assert lake["a"] == {"b": 1}
        assert lake._history == "snapshots"


AGENT = """
import asyncio, os, sys
from mcp import Client, StdioServerParameters

async def main(name, session, command, *arguments):
    parameters = StdioServerParameters(command=command, args=list(arguments), env=dict(os.environ))
    conflicts = 0
    async with Client(parameters) as client:
        async def call(tool, **arguments):
            return await client.call_tool(tool, {"session_id": session, **arguments})
        for n in range(5):
            done = await call("chunk_add", content=f"{name} says {n}")
            assert not done.is_error, done
            done = await call("memory_add", type="fact", key=f"{name}/{n}", content=n)
            assert not done.is_error, done
            while True:
                found = await call("memory_list", type="context", limit=1)
                (counter,) = found.structured_content["memories"]
                done = await call("memory_add", type="context", key="counter",
                                  content=counter["content"] + 1, if_match=counter["content_hash"])
                if not done.is_error:
                    break
                assert "conflict: " in done.content[0].text, done
                conflicts += 1
    print(conflicts)

asyncio.run(main(*sys.argv[1:]))
"""


def test_agents_in_processes_lose_no_write(tmp_path: Path, soak: bool) -> None:
    agents = 8 if soak else 3
    with SessionManager(lakebed.open(tmp_path / "lake")) as manager:
        session = manager.create_session("work").id
        manager.add_memory(session, "context", "counter", 0)
        server = [sys.executable, "-c", MAIN, "--lake", str(tmp_path / "lake"), "mcp"]
        running = [
            subprocess.Popen(
                [sys.executable, "-c", AGENT, f"agent{n}", session, *server],
                stdout=subprocess.PIPE, text=True,
            )
            for n in range(agents)
        ]  # fmt: skip
        ended = [(process.communicate(timeout=300)[0], process.returncode) for process in running]
        assert [code for _, code in ended] == [0] * agents
        assert manager.memory(session, "context", "counter").content == 5 * agents
        loaded = manager.load(session)
        assert (loaded.chunks, loaded.memories) == (5 * agents, 5 * agents + 1)


def test_http_wants_the_token(lake: Lake, tmp_path: Path) -> None:
    lake.close()
    port = free_port()
    command = [sys.executable, "-c", MAIN, "--lake", str(tmp_path / "lake"), "mcp"]
    with subprocess.Popen(
        [*command, "--transport", "http", "--port", str(port)],
        env={**os.environ, "LAKEBED_MCP_TOKEN": TOKEN},
    ) as server:
        try:
            url = f"http://127.0.0.1:{port}/mcp"
            deadline = time.monotonic() + 60
            while True:
                try:
                    answer = httpx.post(url, json={})
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            assert answer.status_code == 401
            for header in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"bearer{TOKEN}"):
                wrong = httpx.post(url, json={}, headers={"authorization": header})
                assert (wrong.status_code, TOKEN in wrong.text) == (401, False)

            async def run() -> Any:
                import httpx2
                from mcp.client.streamable_http import streamable_http_client

                headers = {"authorization": f"Bearer {TOKEN}"}
                async with httpx2.AsyncClient(headers=headers) as http:
                    transport = streamable_http_client(url, http_client=http)
                    async with Client(transport) as client:
                        await call(client, "store", key="a", value=1)
                        return await call(client, "retrieve", key="a")

            assert asyncio.run(run())["value"] == 1
        finally:
            server.terminate()


def test_who_listens_to_others_needs_a_token(lake: Lake) -> None:
    server = build_server(lake)
    with pytest.raises(ConfigurationError, match="LAKEBED_MCP_TOKEN"):
        http_app(server, "0.0.0.0", None)  # noqa: S104
    for token in ("short", "with spaces in it and long", "ü" * 20):
        with pytest.raises(ConfigurationError) as error:
            http_app(server, "127.0.0.1", token)
        assert token not in str(error.value)
    assert isinstance(http_app(server, "0.0.0.0", TOKEN), BearerToken)  # noqa: S104
