"""Locks in Redis, DynamoDB and Firestore."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Mapping
from typing import Any

import pytest

from lakebed.errors import ConfigurationError, ConnectError, DependencyMissingError
from lakebed.locks import Lock, create_lock
from lakebed.testing import LockConformance
from tests.locks.processes import LockProcesses
from tests.servers import PASSWORD, free_port
from tests.services.dynamodb import REGION, DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.redis import RedisServer


class TestRedis(LockConformance, LockProcesses):
    kind = "redis"
    takes_clock = False

    @pytest.fixture
    def options(self, redis_server: RedisServer) -> Mapping[str, object]:
        return {"url": redis_server.url(), "prefix": redis_server.create_prefix()}

    @pytest.fixture
    def place(self, options: Mapping[str, object]) -> Mapping[str, object]:
        return options

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("redis", name, ttl, **place, **options)


@pytest.fixture
def keys_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)


@pytest.mark.usefixtures("keys_of_aws")
class TestDynamoDB(LockConformance, LockProcesses):
    kind = "dynamodb"
    workers, turns, owners = 4, 8, 3

    @pytest.fixture
    def options(self, dynamodb: DynamoDBServer) -> Mapping[str, object]:
        table = dynamodb.create_table()
        return {"table": table, "region": REGION, "endpoint_url": dynamodb.endpoint_url}

    @pytest.fixture
    def place(self, options: Mapping[str, object]) -> Mapping[str, object]:
        return options

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("dynamodb", name, ttl, **place, **options)


@pytest.fixture
def emulator(firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch) -> FirestoreServer:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore.host)
    return firestore


class TestFirestore(LockConformance, LockProcesses):
    kind = "firestore"
    takes_clock = False
    ttl = 8.0  # a request may take a second, and two on a busy machine
    workers, turns, owners = 3, 5, 2

    @pytest.fixture
    def options(self, emulator: FirestoreServer) -> Mapping[str, object]:
        return {"project": emulator.create_project()}

    @pytest.fixture
    def place(self, options: Mapping[str, object]) -> Mapping[str, object]:
        return options

    def create(self, place: Any, name: str, ttl: Any, **options: Any) -> Lock:
        return create_lock("firestore", name, ttl, **place, **options)


def test_errors_of_redis(guarded_redis: RedisServer) -> None:
    with create_lock("redis", "a", url=guarded_redis.url()) as lock:
        assert lock.token == 1
    with pytest.raises(ConnectError, match="refuses the credentials") as caught:
        create_lock("redis", "a", url=guarded_redis.url(password="wr0ng")).acquire()  # noqa: S106
    assert caught.value.error_type == "auth_failed"
    assert "wr0ng" not in str(caught.value)
    for url in ("nonsense wr0ng", "http://:wr0ng@x", None):
        with pytest.raises(ConfigurationError, match="url: expected redis://") as refused:
            create_lock("redis", "a", url=url)
        assert "wr0ng" not in str(refused.value)
    with pytest.raises(ConnectError, match="no connection") as gone:
        create_lock("redis", "a", url=f"redis://127.0.0.1:{free_port()}/0").acquire()
    assert gone.value.error_type == "connection_error"


def test_a_redis_that_does_not_answer(
    private_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakebed.locks.redis._SECONDS", 0.3)
    lock = create_lock("redis", "a", url=private_redis.url())
    lock.acquire()
    private_redis.process.pause()
    with pytest.raises(ConnectError, match="does not answer") as caught:
        lock.refresh()
    assert caught.value.error_type == "connection_timeout"
    private_redis.process.resume()
    lock.refresh()
    assert lock.release()


@pytest.mark.usefixtures("keys_of_aws")
def test_a_table_is_made(dynamodb: DynamoDBServer) -> None:
    table = f"t-{secrets.token_hex(6)}"
    with create_lock(
        "dynamodb", "a", table=table, region=REGION, endpoint_url=dynamodb.endpoint_url
    ) as lock:
        assert lock.token == 1


@pytest.mark.usefixtures("keys_of_aws")
def test_errors_of_dynamodb(
    private_dynamodb: DynamoDBServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lakebed.locks.dynamodb._TRIES", 1)
    monkeypatch.setattr("lakebed.locks.dynamodb._ANSWER_SECONDS", 0.3)
    place = {"table": "t", "region": REGION, "endpoint_url": private_dynamodb.endpoint_url}
    private_dynamodb.process.pause()
    with pytest.raises(ConnectError, match="does not answer") as caught:
        create_lock("dynamodb", "a", **place).acquire()
    assert caught.value.error_type == "connection_timeout"
    nowhere = {**place, "endpoint_url": f"http://127.0.0.1:{free_port()}"}
    with pytest.raises(ConnectError, match="no connection") as gone:
        create_lock("dynamodb", "a", **nowhere).acquire()
    assert gone.value.error_type == "connection_error"
    for wrong in ({"table": ""}, {"endpoint_url": "nonsense"}):
        with pytest.raises(ConfigurationError):
            create_lock("dynamodb", "a", **{**place, **wrong})


def test_errors_of_firestore(monkeypatch: pytest.MonkeyPatch) -> None:
    for collection in ("", "a/b", 5):
        with pytest.raises(ConfigurationError, match="collection"):
            create_lock("firestore", "a", project="p", collection=collection)
    monkeypatch.setattr("lakebed.locks.firestore._SECONDS", 1.0)
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    with pytest.raises(ConnectError) as gone:
        create_lock("firestore", "a", project="p").acquire()
    assert gone.value.error_type in ("connection_error", "connection_timeout")


@pytest.mark.parametrize(
    ("kind", "package", "options"),
    [
        ("redis", "redis", {"url": "redis://x"}),
        ("dynamodb", "boto3", {"table": "t"}),
        ("firestore", "google.cloud", {}),
        ("postgres", "psycopg", {"url": "postgresql://x/y"}),
    ],
)
def test_a_missing_package(
    kind: str, package: str, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def importing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith(package):
            raise ImportError(f"No module named {name!r}")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(DependencyMissingError, match=rf"pip install 'lakebed\[{kind}\]'") as caught:
        create_lock(kind, "a", **options)
    assert caught.value.error_type == "dependency_missing"
