"""A catalog with a replica: restored, fenced, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import certifi
import pytest

import lakebed
from lakebed import waiting
from lakebed.catalog.litestream import child, opening
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    LockLostError,
    LockTimeoutError,
    RateLimitedError,
    StorageError,
)
from lakebed.lake.lake import Lake
from lakebed.objects.buckets import connection
from tests.http_proxy import Answer, Request, http_proxy
from tests.servers import PASSWORD, S3Server

WRITER = """
import json, sys, lakebed
spec = json.loads(sys.argv[1])
with lakebed.open(catalog=spec, durability="full") as lake:
    print("ready", flush=True)
    for n in range(100_000):
        lake.store(f"k{n}", n)
        print(n, flush=True)
"""


def spec(folder: Path, node: str, replica: str | None = None, **more: object) -> dict[str, object]:
    (folder / node).mkdir(exist_ok=True)
    return {
        "type": "litestream",
        "path": str(folder / node / "names.db"),
        "replica": replica or str(folder / "replica"),
        "fence_ttl": 2,
        "fence_timeout": 20,
        **more,
    }


def open_node(folder: Path, node: str, **more: Any) -> Lake:
    return lakebed.open(catalog=spec(folder, node, **more), durability="full")


def test_another_node_goes_on(tmp_path: Path) -> None:
    with open_node(tmp_path, "a") as lake:
        lake.store("x", 1)
        lake.create_snapshot("s")
        lake.store("x", 2)
    with open_node(tmp_path, "b") as lake:
        assert lake.retrieve("x") == 2
        assert lake.at("s").retrieve("x") == 1
        lake.store("x", 3)
    with open_node(tmp_path, "a") as lake:  # whose own file is behind
        assert lake.retrieve("x") == 3
        assert lake.verify().problems == []
    with open_node(tmp_path, "a") as lake:
        assert lake.retrieve("x") == 3


def test_a_replica_in_a_bucket(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setenv("AWS_CA_BUNDLE", certifi.where())
    replica = f"s3://{s3.create_bucket()}/memory"
    more = {
        "replica": replica,
        "endpoint_url": s3.endpoint_url,
        "region": "us-east-1",
        "fence_ttl": 20,
    }
    with open_node(tmp_path, "a", **more) as lake:
        lake.store("x", 1)
    shutil.rmtree(tmp_path / "a")
    with open_node(tmp_path, "b", **more) as lake:
        assert lake.retrieve("x") == 1


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_kills(tmp_path: Path, disk: str, soak: bool) -> None:
    """Whatever was acknowledged is there, on the same disk and on another."""
    seen = -1
    for turn in range(20 if soak else 2):
        node = "a" if disk == "kept" else f"n{turn}"
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, json.dumps(spec(tmp_path, node))],
            stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.5 + 0.1 * turn)
            process.send_signal(signal.SIGKILL)
            told = [int(line) for line in process.stdout if line.endswith("\n")]
        assert told
        seen = max(seen, *told)
        if disk == "lost":
            time.sleep(0.5)  # the child, which dies with its parent
            shutil.rmtree(tmp_path / node)
        with open_node(tmp_path, "a" if disk == "kept" else f"r{turn}") as lake:
            assert [n for n in range(seen + 1) if lake.get(f"k{n}") != n] == []


def test_two_nodes(tmp_path: Path) -> None:
    with open_node(tmp_path, "a") as lake:
        lake.store("x", 1)
        with pytest.raises(LockTimeoutError, match="another node writes to the replica"):
            open_node(tmp_path, "b", fence_timeout=3)
        lake.store("x", 2)  # which kept the fence


def test_a_node_that_slept(tmp_path: Path) -> None:
    slept = open_node(tmp_path, "a")
    slept.store("x", 1)
    executor = slept._catalog._executor  # type: ignore[attr-defined]
    executor.keeper.stop()  # as if the process had stood still
    with open_node(tmp_path, "b") as lake:
        lake.store("x", 2)
        with pytest.raises(LockLostError, match="another node may write"):
            slept.store("x", 3)
        assert lake.retrieve("x") == 2
    executor.child.stop()
    slept.close()
    with open_node(tmp_path, "c") as lake:
        assert lake.retrieve("x") == 2


def test_what_cannot_be_restored_is_not_opened(tmp_path: Path) -> None:
    with open_node(tmp_path, "a") as lake:
        lake.store("x", 1)
    levels = list((tmp_path / "replica" / "ltx").rglob("*.ltx"))
    kept = {path: path.read_bytes() for path in levels}
    for path in levels:
        path.write_bytes(b"nonsense")
    with pytest.raises(StorageError, match=r"cannot restore .* not opened"):
        open_node(tmp_path, "b")
    assert not (tmp_path / "b" / "names.db").exists()
    for path in levels:
        path.unlink()
    (tmp_path / "a" / "names.db").unlink()
    with pytest.raises(StorageError, match="is empty, but the lake was copied to it before"):
        open_node(tmp_path, "a")
    for path, data in kept.items():
        path.write_bytes(data)
    with open_node(tmp_path, "b") as lake:
        assert lake.retrieve("x") == 1


def test_another_node_owns_the_objects_as_well(tmp_path: Path) -> None:
    """A restored file is no copy that might delete what others need: the fence sees to it."""
    storage = str(tmp_path / "objects")
    for node in ("a", "b"):
        catalog = spec(tmp_path, node)
        with lakebed.open(catalog=catalog, storage=storage, durability="full") as lake:
            lake.store(node, node * 10_000)
            lake.maintain()
            assert len(lake["a"]) == 10_000
        shutil.rmtree(tmp_path / node)


def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    with open_node(tmp_path, "a") as lake:
        lake.store("x", 1)
        lake._catalog._executor.child._process.kill()  # type: ignore[attr-defined]
        lake.store("x", 2)
    shutil.rmtree(tmp_path / "a")
    with open_node(tmp_path, "b") as lake:
        assert lake.retrieve("x") == 2


def test_a_child_that_does_not_start_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "litestream"
    program.write_text('#!/bin/sh\n[ "$1" = restore ] && exit\necho "no such option" >&2; exit 1\n')
    program.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr(child, "program", lambda: str(program))
        patched.setattr(child, "_START_SECONDS", 5.0)
        with pytest.raises(StorageError, match="Litestream does not start: no such option"):
            open_node(tmp_path, "a")
    with open_node(tmp_path, "b") as lake:  # the fence was given back
        lake.store("x", 1)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ExpiredToken", "auth_failed"),
        (403, "InvalidAccessKeyId", "auth_failed"),
    ],
)
def test_what_a_bucket_refuses(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch,
    status: int, code: str, expected: str,
) -> None:  # fmt: skip
    """At a commit, and at restoring: the fence has been taken before."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setattr(child, "SYNC_SECONDS", 5.0)
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    with http_proxy(s3.port) as proxy:
        more = {
            "replica": f"s3://{s3.create_bucket()}/memory",
            "endpoint_url": proxy.url,
            "region": "us-east-1",
            "fence_ttl": 20,
        }

        def refuse(request: Request) -> Answer | None:
            of_the_fence = "fence" in request.path or "delete" in request.path
            return None if of_the_fence else Answer(status, body)

        with open_node(tmp_path, "a", **more) as lake:
            lake.store("x", 1)
            with monkeypatch.context() as patched:
                patched.setattr(proxy, "refuse", refuse)
                with pytest.raises(LakebedError, match="does not confirm a commit") as caught:
                    lake.store("x", 2)
            assert caught.value.error_type == expected
            monkeypatch.setattr(child, "SYNC_SECONDS", 30.0)
            lake.store("x", 3)
        monkeypatch.setattr(proxy, "refuse", refuse)
        with pytest.raises(LakebedError, match=r"cannot restore .* is not opened") as refused:
            open_node(tmp_path, "b", **more)
        assert refused.value.error_type == expected
        assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("what", "expected", "wanted", "said"),
    [
        ("fence", "rate_limited", "the service asks to slow down", "; trying for"),
        ("lake", "rate_limited", "not opened: nothing has come.*slow down", "still restoring from"),
    ],
)
def test_opening_does_not_wait_long_for_a_bucket_that_asks_to_slow_down(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, what: str, expected: str, wanted: str, said: str,
) -> None:  # fmt: skip
    """Litestream's own tries would take minutes."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    body = b"<Error><Code>SlowDown</Code><Message>no</Message></Error>"

    def refuse(request: Request) -> Answer | None:
        of_the_fence = "fence" in request.path or "delete" in request.path
        return Answer(503, body) if of_the_fence == (what == "fence") else None

    with http_proxy(s3.port) as proxy:
        more = {
            "replica": f"s3://{s3.create_bucket()}/memory",
            "endpoint_url": proxy.url,
            "region": "us-east-1",
            "fence_ttl": 20,
        }
        with monkeypatch.context() as patched, caplog.at_level(logging.INFO, "lakebed.waiting"):
            patched.setattr(proxy, "refuse", refuse)
            patched.setattr(opening, "_PATIENCE", (1.0, 1.0))
            for module in (waiting, connection):
                patched.setattr(module, "AFTER", 0.1)
            with pytest.raises(LakebedError, match=wanted) as caught:
                open_node(tmp_path, "a", **more)
        assert caught.value.error_type == expected
        assert said in caplog.text
        assert PASSWORD not in f"{caught.value} {caplog.text}"
        assert any(refuse(request) for request in proxy.heard)
        with open_node(tmp_path, "a", **more) as lake:
            lake.store("x", 1)
        assert not list(tmp_path.rglob("*.tmp"))


def test_what_a_bucket_says_when_it_is_asked_too_often() -> None:
    """As Litestream tells it, once it has given up."""
    told = (
        '{"error":"sync database: replica sync: calc pos: max ltx file: operation error S3: '
        "ListObjectsV2, https response error StatusCode: 503, RequestID: , HostID: , api error "
        'SlowDown: no"}'
    )
    limited = child._refusal("it failed", told)
    assert isinstance(limited, RateLimitedError)
    assert limited.retry_after == 1
    assert child._refusal("it failed", "no such host") is None


def test_a_child_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_node(tmp_path, "a") as lake:
        lake.store("x", 1)
        process = lake._catalog._executor.child._process  # type: ignore[attr-defined]
        process.send_signal(signal.SIGSTOP)
        with monkeypatch.context() as patched:
            patched.setattr(child, "SYNC_SECONDS", 0.2)
            patched.setattr(child, "_GRACE", 0.1)
            with pytest.raises(ConnectError, match="does not confirm a commit") as caught:
                lake.store("x", 2)
        assert caught.value.error_type == "connection_timeout"
        process.send_signal(signal.SIGCONT)
        lake.store("x", 3)
    with open_node(tmp_path, "b") as lake:
        assert lake["x"] == 3


def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (
        {"path": ""}, {"replica": ""}, {"replica": "gopher://x"}, {"region": "x"}, {"fence": 1},
        {"fence_ttl": 0},
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match="catalog"):
            lakebed.open(catalog={**spec(tmp_path, "a"), **wrong})
    with pytest.raises(ConfigurationError, match="read_only"):
        lakebed.open(catalog=spec(tmp_path, "a"), read_only=True)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(DependencyMissingError, match=r"pip install 'lakebed\[litestream\]'"):
        open_node(tmp_path, "a")
