"""What the services of log stores refuse, and do not answer, is told as an error of ours."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from contextlib import closing

import pytest

from lakebed.catalog.log.store import LogStore
from lakebed.catalog.log.stores.d1 import D1LogStore, rest_address
from lakebed.catalog.log.stores.dynamodb import DynamoDBLogStore
from lakebed.catalog.log.stores.firestore import FirestoreLogStore
from lakebed.catalog.log.stores.mongodb import MongoDBLogStore
from lakebed.errors import (
    CatalogError,
    ConfigurationError,
    DependencyMissingError,
    LakebedError,
    RateLimitedError,
)
from tests.servers import PASSWORD, free_port
from tests.services.d1 import D1Server
from tests.services.dynamodb import DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer
from tests.services.process import ServerProcess
from tests.services.refusing import refusing_grpc, refusing_http

SHORT = 0.7  # seconds until a request has taken too long


def failing(store: LogStore) -> LakebedError:
    """The error of every call, which is the same."""
    calls: list[Callable[[], object]] = [
        lambda: store.put_new("log/1", b"x"),
        lambda: store.get("log/1"),
        lambda: store.put("log/1", b"x"),
        lambda: store.delete("log/1"),
    ]
    errors = []
    for call in calls:
        with pytest.raises(LakebedError) as found:
            call()
        errors.append(found.value)
    assert len({error.error_type for error in errors}) == 1
    assert PASSWORD not in "".join(map(str, errors))
    return errors[0]


def paused(process: ServerProcess, make: Callable[[float], LogStore]) -> LakebedError:
    """The error while the server stands still; after that all is well again."""
    with closing(make(30)) as patient, closing(make(SHORT)) as hasty:
        patient.put("base/newest", b"x")
        process.pause()
        error = failing(hasty)
        process.resume()
        assert patient.get("base/newest") == b"x"
    return error


@pytest.mark.parametrize(
    ("package", "extra", "make"),
    [
        ("boto3", "dynamodb", lambda: DynamoDBLogStore("table")),
        ("google.cloud.firestore", "firestore", lambda: FirestoreLogStore("c")),
        ("pymongo", "mongodb", lambda: MongoDBLogStore("mongodb://nowhere")),
        ("urllib3", "d1", lambda: D1LogStore("http://nowhere", "token")),
    ],
)
def test_a_missing_package_is_told_with_the_command(
    package: str, extra: str, make: Callable[[], LogStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyMissingError, match=rf"pip install 'lakebed\[{extra}\]'"):
        make()


@pytest.mark.usefixtures("in_aws")
class TestDynamoDB:
    def test_a_server_that_is_not_there(self) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        with closing(DynamoDBLogStore("table", endpoint_url=url)) as store:
            assert failing(store).error_type == "connection_error"

    def test_a_server_that_does_not_answer(self, private_dynamodb: DynamoDBServer) -> None:
        def make(timeout: float) -> LogStore:
            url = private_dynamodb.endpoint_url
            return DynamoDBLogStore("table", endpoint_url=url, timeout=timeout)

        assert paused(private_dynamodb.process, make).error_type == "connection_timeout"

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("ProvisionedThroughputExceededException", "rate_limited"),
            ("ThrottlingException", "rate_limited"),
            ("ExpiredTokenException", "auth_failed"),
            ("AccessDeniedException", "auth_failed"),
            ("UnrecognizedClientException", "auth_failed"),
            ("ValidationException", "catalog_error"),
        ],
    )
    def test_a_refusal(self, code: str, expected: str) -> None:
        # A stub: the server of the tests lets everybody in, and never asks to slow down.
        body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}
        with (
            refusing_http(400, body) as url,
            closing(DynamoDBLogStore("table", endpoint_url=url)) as store,
        ):
            error = failing(store)
        assert error.error_type == expected
        if isinstance(error, RateLimitedError):
            assert error.retry_after == 1.0

    def test_no_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        with closing(DynamoDBLogStore("table")) as store:
            assert failing(store).error_type == "auth_failed"

    def test_no_region(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
        with pytest.raises(ConfigurationError, match="region"):
            DynamoDBLogStore("table")

    def test_tables_of_others(self, dynamodb: DynamoDBServer) -> None:
        """Any table will do whose key is text; with a sort key too."""
        url = dynamodb.endpoint_url
        name = dynamodb.new_name()
        keys = [("pk", "HASH", "S"), ("sk", "RANGE", "S")]
        with closing(dynamodb.client()) as client:
            for table, used in ((name, keys), (f"{name}-n", [("pk", "HASH", "N")])):
                client.create_table(
                    TableName=table,
                    KeySchema=[{"AttributeName": k, "KeyType": kind} for k, kind, _ in used],
                    AttributeDefinitions=[
                        {"AttributeName": k, "AttributeType": type_} for k, _, type_ in used
                    ],
                    BillingMode="PAY_PER_REQUEST",
                )
        with closing(DynamoDBLogStore(name, endpoint_url=url)) as store:
            assert store.put_new("log/1", b"x")
            assert not store.put_new("log/1", b"y")
            assert store.get("log/1") == b"x"
            store.delete("log/1")
            assert store.get("log/1") is None
        with closing(DynamoDBLogStore(f"{name}-n", endpoint_url=url)) as store:
            assert "must be of type S" in str(failing(store))


class TestFirestore:
    @staticmethod
    def store(host: str, monkeypatch: pytest.MonkeyPatch, **options: float) -> FirestoreLogStore:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
        return FirestoreLogStore("c", project="p", **options)

    def test_a_server_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with closing(self.store(f"127.0.0.1:{free_port()}", monkeypatch)) as store:
            assert failing(store).error_type == "connection_error"

    def test_a_server_that_does_not_answer(
        self, private_firestore: FirestoreServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def make(timeout: float) -> LogStore:
            return self.store(private_firestore.host, monkeypatch, timeout=timeout)

        assert paused(private_firestore.process, make).error_type == "connection_timeout"

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("RESOURCE_EXHAUSTED", "rate_limited"),
            ("ABORTED", "rate_limited"),
            ("UNAUTHENTICATED", "auth_failed"),
            ("PERMISSION_DENIED", "auth_failed"),
            ("INTERNAL", "connection_error"),
            ("DEADLINE_EXCEEDED", "connection_timeout"),
            ("NOT_FOUND", "configuration_error"),
        ],
    )
    def test_a_refusal(self, code: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
        # A stub: the emulator lets everybody in, and never asks to slow down.
        with (
            refusing_grpc(code, "no") as host,
            closing(self.store(host, monkeypatch)) as store,
        ):
            error = failing(store)
        assert error.error_type == expected
        if isinstance(error, RateLimitedError):
            assert error.retry_after == 1.0

    def test_no_credentials(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
        with pytest.raises(LakebedError) as found:
            FirestoreLogStore("c", project="p")
        assert found.value.error_type == "auth_failed"


class TestMongoDB:
    def test_a_server_that_is_not_there(self) -> None:
        url = f"mongodb://127.0.0.1:{free_port()}/db"
        with closing(MongoDBLogStore(url, timeout=SHORT)) as store:
            assert failing(store).error_type == "connection_error"

    def test_a_server_that_does_not_answer(self, private_mongodb: MongoDBServer) -> None:
        def make(timeout: float) -> LogStore:
            return MongoDBLogStore(private_mongodb.url("db"), timeout=timeout)

        assert paused(private_mongodb.process, make).error_type == "connection_timeout"

    def test_who_may_not(self, private_mongodb: MongoDBServer) -> None:
        private_mongodb.require_passwords("writer")
        good = private_mongodb.url("db", user="writer")
        bad = private_mongodb.url("db", user="writer", password=secrets.token_hex())
        for url in (bad, private_mongodb.url("db")):
            with closing(MongoDBLogStore(url, timeout=SHORT)) as store:
                assert failing(store).error_type == "auth_failed"
        with closing(MongoDBLogStore(good)) as store:
            assert store.put_new("log/1", b"x")

    @pytest.mark.parametrize("code", [462, 16500])
    def test_too_fast(self, code: int, mongodb_with_faults: MongoDBServer) -> None:
        with mongodb_with_faults.client() as client:
            client.admin.command(
                "configureFailPoint",
                "failCommand",
                mode="alwaysOn",
                data={
                    "failCommands": ["insert", "find", "update", "delete"],
                    "errorCode": code,
                },
            )
            with closing(MongoDBLogStore(mongodb_with_faults.url("db"))) as store:
                error = failing(store)
        assert isinstance(error, RateLimitedError)
        assert error.retry_after == 1.0

    @pytest.mark.parametrize("url", ["mongodb://", "http://host/db", f"mongodb://u:{PASSWORD}@/d"])
    def test_a_wrong_address(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match=r"catalog\.url") as found:
            MongoDBLogStore(url)
        assert PASSWORD not in str(found.value)


class TestD1:
    @staticmethod
    def store(server: D1Server, database: str = "", token: str = "") -> D1LogStore:
        address = rest_address(
            server.account_id, database or server.create_database(), server.endpoint_url
        )
        return D1LogStore(address, token or server.api_token, timeout=5)

    def test_a_server_that_is_not_there(self) -> None:
        address = rest_address("a", "d", f"http://127.0.0.1:{free_port()}")
        with closing(D1LogStore(address, "token")) as store:
            assert failing(store).error_type == "connection_error"

    def test_a_server_that_does_not_answer(self, private_d1: D1Server) -> None:
        address = rest_address("a", private_d1.create_database(), private_d1.endpoint_url)

        def make(timeout: float) -> LogStore:
            return D1LogStore(address, private_d1.api_token, timeout=timeout)

        assert paused(private_d1.process, make).error_type == "connection_timeout"

    def test_a_wrong_token(self, d1: D1Server) -> None:
        with closing(self.store(d1, token=secrets.token_hex())) as store:
            assert failing(store).error_type == "auth_failed"

    def test_no_such_database(self, d1: D1Server) -> None:
        with closing(self.store(d1, "missing")) as store:
            assert "could not be found" in str(failing(store))

    @pytest.mark.parametrize(
        ("status", "after", "message", "expected"),
        [
            (429, "7", "Rate limited", "rate_limited"),
            (429, "", "Rate limited", "rate_limited"),
            (400, "", "D1 DB is overloaded. Too many requests queued.", "rate_limited"),
            (403, "", "The given account is not authorized", "auth_failed"),
            (500, "", "Internal error", "connection_error"),
            (504, "", "Gateway time-out", "connection_timeout"),
            (400, "", "datatype mismatch", "catalog_error"),
        ],
    )
    def test_a_refusal(
        self, status: int, after: str, message: str, expected: str, d1: D1Server
    ) -> None:
        # The shim before the real engine is told to: it has no limit of its own.
        with closing(self.store(d1)) as store:
            d1.answer(status, retry_after=after, message=message, count=4)
            error = failing(store)
            assert store.get("log/1") is None
        assert error.error_type == expected
        if isinstance(error, RateLimitedError):
            assert error.retry_after == float(after or 1)

    def test_a_page_instead_of_an_answer(self) -> None:
        with (
            refusing_http(502, {"no": "json of D1's"}) as url,
            closing(D1LogStore(url, "token")) as store,
        ):
            assert failing(store).error_type == "connection_error"
        with (
            refusing_http(200, {"success": True}) as url,
            closing(D1LogStore(url, "token")) as store,
        ):
            assert isinstance(failing(store), CatalogError)
