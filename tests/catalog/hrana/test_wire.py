"""What the wire adds: requests, lost answers, the server's limits, tokens, and errors."""

from __future__ import annotations

import base64
import builtins
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import lakebed
from lakebed.catalog.hrana import transaction
from lakebed.catalog.hrana.catalog import HranaCatalog
from lakebed.catalog.hrana.protocol import Statement, encode
from lakebed.catalog.hrana.server import UndoneError, address_of
from lakebed.catalog.hrana.stream import Stream
from lakebed.catalog.hrana.transaction import HranaTransaction
from lakebed.config.doctor import diagnose
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    ConnectError,
    DependencyMissingError,
    LakebedError,
    LockTimeoutError,
    RateLimitedError,
)
from lakebed.lake.lake import Lake
from tests.http_proxy import Answer, HttpProxy, http_proxy
from tests.servers import Missing, free_port
from tests.services.sqld import SqldServer, running_sqld
from tests.waiting import LONG

LOST = Answer(502, b'{"error": "the answer was lost"}', {"Content-Type": "application/json"})


@pytest.fixture
def proxy(private_sqld: SqldServer) -> Iterator[HttpProxy]:
    with http_proxy(private_sqld.port) as proxy:
        yield proxy


def open_by(port: int, **options: Any) -> Lake:
    catalog = {"type": "turso", "url": f"http://127.0.0.1:{port}", **options}
    return lakebed.open(catalog=catalog)


def bodies(proxy: HttpProxy, change: Callable[[bytes, Callable[[], Answer]], Answer]) -> None:
    """Let `change` answer the requests, by their bodies and what the server would say."""
    plain = proxy.answer
    proxy.answer = lambda request, body: change(  # type: ignore[method-assign]
        body, lambda: plain(request, body)
    )


def test_requests_of_a_store_at_a_distance(proxy: HttpProxy) -> None:
    with open_by(proxy.port) as lake:
        lake.store("first", 1)
        asked: list[bytes] = []

        def far(body: bytes, answer: Callable[[], Answer]) -> Answer:
            asked.append(body)
            time.sleep(0.02)
            return answer()

        bodies(proxy, far)
        for key, value in (("a", {"n": 1}), ("a", {"n": 2}), ("b", {"n": 2}), ("a", {"n": 2})):
            asked.clear()
            lake.store(key, value, {"m": 1})
            assert len(asked) <= 2
            assert b"BEGIN IMMEDIATE" in asked[0]
            assert b'"COMMIT"' in asked[-1]
        asked.clear()
        lake.delete("b")
        assert len(asked) <= 2
        asked.clear()
        assert lake.retrieve("a") == {"n": 2}
        assert len(asked) == 1
        asked.clear()
        lake.store_batch({"key": f"k{n}", "value": n} for n in range(1000))
        assert len(asked) < 25


@pytest.mark.parametrize("happens", [True, False])
@pytest.mark.parametrize("more", [0, 3])
def test_a_lost_answer_of_commit(proxy: HttpProxy, happens: bool, more: int) -> None:
    """It is settled by the mark: one store, whether the lost one happened or not, and also if more
    answers are lost, to those who look for the mark."""
    with open_by(proxy.port) as lake:
        lake.store("n", 0)
        lost: list[bytes] = []

        def lossy(body: bytes, answer: Callable[[], Answer]) -> Answer:
            if b'"COMMIT"' in body and not lost:
                lost.append(body)
                if happens:
                    answer()
                return LOST
            if 1 <= len(lost) <= more:
                lost.append(body)
                return LOST
            return answer()

        bodies(proxy, lossy)
        entry = lake.store("n", 1, if_match=lake.entry("n").content_hash)  # type: ignore[union-attr]
        assert len(lost) == 1 + more
        assert entry.changed
        assert lake.retrieve("n") == 1
        assert next(iter(lake.history("n"))).value == 1
        lake.store("n", 2)
        assert lake.retrieve("n") == 2
        assert lake.verify().problems == []


def test_a_commit_that_comes_late_is_undone(proxy: HttpProxy) -> None:
    """A whole transaction in one request was given up, and reaches the server when it was done
    again."""
    with open_by(proxy.port) as lake:
        lake.store("n", 0)
        late: list[Callable[[], Answer]] = []

        def slow(body: bytes, answer: Callable[[], Answer]) -> Answer:
            if b"+ 1" in body and not late:
                assert b"BEGIN IMMEDIATE" in body
                assert b'"COMMIT"' in body
                late.append(answer)
                return LOST
            return answer()

        bodies(proxy, slow)
        catalog = lake._catalog
        assert isinstance(catalog, HranaCatalog)
        executor = catalog._executor

        def count(tx: HranaTransaction) -> None:
            tx.later('UPDATE lakebed_meta SET "value" = "value" + 1 WHERE "name" = :n', name)

        def counted() -> int:
            sql = 'SELECT "value" FROM lakebed_meta WHERE "name" = :n'
            return int(executor.fetch(sql, name)[0][0])

        name = {"n": "objects_moved"}
        before = counted()
        executor.transact(count)
        assert counted() == before + 1
        assert b"malformed JSON" in late[0]().body
        assert counted() == before + 1
        lake.store("n", 1)
        assert lake.retrieve("n") == 1


@pytest.mark.parametrize(("timeout", "lock_timeout"), [(LONG, 0.3), (1.0, 3.0)])
def test_how_long_a_store_waits_for_other_writers(
    proxy: HttpProxy, timeout: float, lock_timeout: float
) -> None:
    """As `lock_timeout` says, however long an answer may take."""
    with lakebed.open(
        catalog={"type": "turso", "url": proxy.url, "timeout": timeout}, lock_timeout=lock_timeout
    ) as lake:
        lake.store("n", 0)
        busy = {"code": "SQLITE_BUSY", "message": "database is locked"}
        result = {"step_results": [None], "step_errors": [busy]}
        said = {"type": "ok", "response": {"type": "batch", "result": result}}
        refusal = Answer(200, json.dumps({"results": [said]}).encode())
        bodies(proxy, lambda body, answer: refusal if b"BEGIN IMMEDIATE" in body else answer())
        start = time.monotonic()
        with pytest.raises(LockTimeoutError, match="was not free"):
            lake.store("n", 1)
        took = time.monotonic() - start
        assert (took > timeout) == (lock_timeout > timeout)
        assert lake.retrieve("n") == 0


def test_what_would_take_too_long(
    private_sqld: SqldServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_by(private_sqld.port) as lake:
        lake.store("a", 1)
        monkeypatch.setattr(transaction, "LONGEST", 0.0)
        with pytest.raises(CatalogError, match=r"more than five seconds.*nothing was written"):
            lake.store_batch([{"key": f"k{n}", "value": n} for n in range(2000)])
        monkeypatch.undo()
        assert len(lake) == 1
        lake.store_batch([{"key": f"k{n}", "value": n} for n in range(2000)])
        assert len(lake) == 2001


def test_a_lock_that_the_server_gave_to_another(private_sqld: SqldServer) -> None:
    with open_by(private_sqld.port) as lake, open_by(private_sqld.port) as other:
        lake.store("a", 1)
        catalog = lake._catalog
        assert isinstance(catalog, HranaCatalog)

        def sleepy() -> None:
            with catalog._executor._write(60.0) as tx:
                tx.run("DELETE FROM entry", {})
                other.store("b", 2)  # waits until the server takes the lock away
                tx._began = time.monotonic()  # as if it had been quick

        with pytest.raises(UndoneError, match="held the write lock for too long"):
            sleepy()
        assert sorted(lake) == ["a", "b"]


def test_a_result_that_is_too_large_for_an_answer(private_sqld: SqldServer) -> None:
    with lakebed.open(catalog=f"http://127.0.0.1:{private_sqld.port}".replace("http", "libsql")
                      + "?tls=0", inline_threshold=200_000) as lake:  # fmt: skip
        values = {f"k{n:03}": f"{n}" * 66_000 for n in range(70)}
        entries = [{"key": key, "value": value} for key, value in values.items()]
        for start in range(0, 70, 10):  # the server ends a transaction after five seconds
            lake.store_batch(entries[start : start + 10])
        assert {entry.key: entry.value for entry in lake.list()} == values
        assert dict(lake.retrieve_batch(list(values))) == values


INCREMENT = """
import sys, lakebed
from lakebed.errors import ConflictError
with lakebed.open(catalog={"type": "turso", "url": sys.argv[1]}) as lake:
    for _ in range(8):
        while True:
            entry = lake.entry("n")
            try:
                lake.store("n", entry.value + 1, if_match=entry.content_hash)
                break
            except ConflictError:
                pass
"""


def test_processes_lose_nothing(private_sqld: SqldServer) -> None:
    with open_by(private_sqld.port) as lake:
        lake.store("n", 0)
        command = [sys.executable, "-c", INCREMENT, private_sqld.url()]
        running = [subprocess.Popen(command) for _ in range(3)]
        assert [process.wait(300) for process in running] == [0, 0, 0]
        assert lake.retrieve("n") == 24
        assert lake.verify().problems == []


# Addresses, tokens and errors


@pytest.mark.parametrize(
    ("url", "token", "address"),
    [
        ("libsql://db-org.turso.io", "t", ("https://db-org.turso.io", "t")),
        ("libsql://db-org.turso.io?authToken=t", None, ("https://db-org.turso.io", "t")),
        ("https://db-org.turso.io/", None, ("https://db-org.turso.io", None)),
        ("libsql://localhost:8080?tls=0", None, ("http://localhost:8080", None)),
        ("http://[::1]:8080", None, ("http://[::1]:8080", None)),
    ],
)
def test_addresses(url: str, token: str | None, address: tuple[str, str | None]) -> None:
    assert address_of(url, token) == address


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"url": ""},
        {"url": "db.turso.io"},
        {"url": "file:local.db"},
        {"url": "libsql://x:port-secret"},
        {"url": "libsql://me:pass-secret@x"},
        {"url": "libsql://x?authToken=secret", "auth_token": "secret"},
        {"url": "libsql://x", "auth_token": ""},
        {"url": "libsql://x?other=secret"},
        {"url": "libsql://x", "tokn": "secret"},
        {"url": "libsql://x", "timeout": 0},
    ],
)
def test_mistakes(spec: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="catalog") as caught:
        lakebed.open(catalog={"type": "turso", **spec})
    assert "secret" not in str(caught.value)


def token_for(key: Ed25519PrivateKey, claims: dict[str, object]) -> str:
    """A token as Turso makes them."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    head = part(json.dumps({"alg": "EdDSA", "typ": "JWT"}).encode())
    said = f"{head}.{part(json.dumps(claims).encode())}"
    return f"{said}.{part(key.sign(said.encode()))}"


@contextmanager
def guarded_sqld(require_server: Missing, folder: Path, key: Ed25519PrivateKey) -> Iterator[str]:
    """A server that asks for tokens of this key; its address."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    file = folder / "key"
    file.write_text(base64.urlsafe_b64encode(raw).decode().rstrip("="))

    class Guarded(SqldServer):
        def __init__(self, folder: Path, program: Path) -> None:
            super().__init__(folder, program, "--auth-jwt-key-file", str(file))

    with running_sqld(require_server, Guarded) as server:
        yield server.url()


def test_tokens(require_server: Missing, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    with guarded_sqld(require_server, tmp_path, key) as url:
        good = token_for(key, {"exp": int(time.time()) + 600})
        with lakebed.open(catalog={"type": "turso", "url": url, "auth_token": good}) as lake:
            lake.store("a", 1)
        expired = token_for(key, {"exp": int(time.time()) - 600})
        foreign = token_for(Ed25519PrivateKey.generate(), {"exp": int(time.time()) + 600})
        for bad in (expired, foreign, "nonsense", None):
            spec = {"type": "turso", "url": url} | ({"auth_token": bad} if bad else {})
            with pytest.raises(ConnectError, match="refuses the token") as caught:
                lakebed.open(catalog=spec)
            assert caught.value.error_type == "auth_failed"
            assert not bad or bad not in str(caught.value)
        reader = token_for(key, {"a": "ro", "exp": int(time.time()) + 600})
        with lakebed.open(catalog={"type": "turso", "url": url, "auth_token": reader}) as lake:
            assert lake.retrieve("a") == 1
            with pytest.raises(ConnectError, match="right") as refused:
                lake.store("a", 2)
            assert refused.value.error_type == "auth_failed"
            assert lake.retrieve("a") == 1
        yaml = tmp_path / "lakebed.yaml"
        yaml.write_text(f"backend: turso\nurl: {url}\nauth_token: {reader}\n")
        found = {(finding.check, finding.state) for finding in diagnose(str(yaml))}
        assert ("rights", "wrong") in found
        assert ("catalog", "ok") in found
        told = " ".join(finding.detail for finding in diagnose(str(yaml)))
        assert reader not in told


def test_errors_of_the_wire(
    proxy: HttpProxy, private_sqld: SqldServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_by(proxy.port, timeout=1) as lake:
        lake.store("a", 1)
        slow = Answer(429, b'{"error": "too many"}', {"Retry-After": "7"})
        proxy.refuse = lambda _: slow  # type: ignore[method-assign]
        with pytest.raises(RateLimitedError, match="asks to slow down: too many") as limited:
            lake.store("a", 2)
        assert limited.value.retry_after == 7
        proxy.refuse = lambda _: None  # type: ignore[method-assign]
        private_sqld.process.pause()
        with pytest.raises(ConnectError, match="does not answer") as silent:
            lake.retrieve("a")
        assert silent.value.error_type == "connection_timeout"
        private_sqld.process.resume()
        assert lake.retrieve("a") == 1
        lake.store("a", 3)
    with pytest.raises(ConnectError, match="no connection to") as gone:
        open_by(free_port(), timeout=0.3)
    assert gone.value.error_type == "connection_error"
    real = builtins.__import__

    def importing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "urllib3":
            raise ImportError("No module named 'urllib3'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(DependencyMissingError, match=r"pip install 'lakebed\[turso\]'") as missing:
        open_by(proxy.port)
    assert missing.value.error_type == "dependency_missing"


def test_a_kill_of_the_server_is_waited_out(private_sqld: SqldServer) -> None:
    with open_by(private_sqld.port) as lake:
        lake.store("a", 1)
        private_sqld.process.kill()
        private_sqld.process.start()
        assert lake.retrieve("a") == 1
        lake.store("a", 2)
        assert lake.retrieve("a") == 2


def test_values_of_the_protocol(private_sqld: SqldServer) -> None:
    with open_by(private_sqld.port) as lake:
        catalog = lake._catalog
        assert isinstance(catalog, HranaCatalog)
        values = (None, 0, -(2**63), 2**63 - 1, 1.5, -0.0, "", "ä\n'", b"", b"\x00\xff", True)
        for value in values:
            ((found,),) = (
                Stream(catalog._executor.server)
                .send([Statement("SELECT :v", {"v": value, "unused": 1})], last=True)[0]
                .rows
            )
            assert found == value
    for bad in (float("nan"), object()):
        with pytest.raises(LakebedError):
            encode(bad)
