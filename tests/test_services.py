"""The private servers do what the tests on them rest on."""

from __future__ import annotations

import json
import secrets
from contextlib import closing

import pytest
import urllib3

from tests.servers import Missing
from tests.services.d1 import D1Server
from tests.services.dynamodb import DynamoDBServer
from tests.services.firestore import Emulator, _from_npm, _googles, running_firestore
from tests.services.mongodb import MongoDBServer
from tests.services.redis import RedisServer
from tests.services.sqld import SqldNamespaces, SqldServer


def test_dynamodb_puts_only_if_absent(dynamodb: DynamoDBServer) -> None:
    table = dynamodb.create_table()
    with closing(dynamodb.client()) as client:
        put = {
            "TableName": table,
            "Item": {"name": {"S": "a"}},
            "ConditionExpression": "attribute_not_exists(#n)",
            "ExpressionAttributeNames": {"#n": "name"},
        }
        client.put_item(**put)
        with pytest.raises(client.exceptions.ConditionalCheckFailedException):
            client.put_item(**put)


@pytest.mark.parametrize("emulator", [_googles, _from_npm])
def test_firestore_creates_only_if_absent(emulator: Emulator, require_server: Missing) -> None:
    from google.api_core.exceptions import AlreadyExists

    with (
        running_firestore(require_server, emulator) as server,
        closing(server.client(server.create_project())) as client,
    ):
        document = client.collection("c").document("a")
        document.create({"n": b"1"})
        with pytest.raises(AlreadyExists):
            document.create({"n": b"2"})
        assert document.get().to_dict() == {"n": b"1"}


def test_mongodb_keeps_its_data_over_a_kill(private_mongodb: MongoDBServer) -> None:
    with private_mongodb.client() as client:
        client.x.y.insert_one({"_id": "a", "n": 1})
    private_mongodb.process.kill()
    private_mongodb.start()
    with private_mongodb.client() as client:
        assert client.x.y.find_one({"_id": "a"}) == {"_id": "a", "n": 1}


def test_mongodb_asks_for_a_password_when_told_to(private_mongodb: MongoDBServer) -> None:
    import pymongo
    from pymongo.errors import OperationFailure

    private_mongodb.require_passwords("writer")
    with pymongo.MongoClient(private_mongodb.url(user="writer")) as client:
        client.x.y.insert_one({"_id": "a"})
    with (
        pymongo.MongoClient(
            private_mongodb.url(user="writer", password=secrets.token_hex())
        ) as client,
        pytest.raises(OperationFailure),
    ):
        client.x.y.find_one()


def test_redis_keeps_its_data_over_a_kill(private_redis: RedisServer) -> None:
    import redis

    with redis.Redis.from_url(private_redis.url()) as client:
        assert client.set("a", b"1", nx=True)
        assert not client.set("a", b"2", nx=True)
    private_redis.process.kill()
    private_redis.process.start()
    with redis.Redis.from_url(private_redis.url()) as client:
        assert client.get("a") == b"1"


def run(url: str, sql: str) -> dict[str, object]:
    body = {"requests": [{"type": "execute", "stmt": {"sql": sql}}, {"type": "close"}]}
    with urllib3.PoolManager(retries=False) as pool:
        answer = pool.request("POST", f"{url}/v2/pipeline", json=body).json()
    result: dict[str, object] = answer["results"][0]
    return result


def test_sqld_keeps_databases_apart(sqld: SqldNamespaces) -> None:
    one, other = sqld.create_database(), sqld.create_database()
    assert run(one, "CREATE TABLE t (a)")["type"] == "ok"
    assert run(other, "SELECT * FROM t")["type"] == "error"


def test_sqld_keeps_its_data_over_a_kill(private_sqld: SqldServer) -> None:
    assert run(private_sqld.url(), "CREATE TABLE t (a)")["type"] == "ok"
    private_sqld.process.kill()
    private_sqld.process.start()
    assert run(private_sqld.url(), "SELECT * FROM t")["type"] == "ok"


def test_d1_answers_as_cloudflare_does(d1: D1Server) -> None:
    database = d1.create_database()

    def run(token: str = d1.api_token, **body: object) -> tuple[int, dict[str, object]]:
        path = f"/client/v4/accounts/{d1.account_id}/d1/database/{database}/query"
        with urllib3.PoolManager(retries=False) as pool:
            answer = pool.request(
                "POST", d1.endpoint_url + path, json=body,
                headers={"Authorization": f"Bearer {token}"},
            )  # fmt: skip
        return answer.status, json.loads(answer.data)

    assert run(sql="CREATE TABLE t (a TEXT PRIMARY KEY, n)")[0] == 200
    insert = "INSERT INTO t VALUES (?, ?) ON CONFLICT DO NOTHING"
    _, made = run(sql=insert, params=["a", 1])
    assert made["result"][0]["meta"]["changes"] == 1  # type: ignore[index]
    _, again = run(sql=insert, params=["a", 2])
    assert again["result"][0]["meta"]["changes"] == 0  # type: ignore[index]
    _, read = run(sql="SELECT * FROM t")
    assert read["result"][0]["results"] == [{"a": "a", "n": 1}]  # type: ignore[index]

    # A batch is one transaction.
    half = [{"sql": insert, "params": ["b", 1]}, {"sql": "INSERT INTO nowhere VALUES (1)"}]
    assert run(batch=half)[0] == 400
    assert run(sql="SELECT count(*) AS n FROM t")[1]["result"][0]["results"] == [{"n": 1}]  # type: ignore[index]

    assert run(sql="SELECT 1", params=[1] * 101)[0] == 400
    assert run("wrong", sql="SELECT 1")[0] == 401
    d1.answer(429, retry_after="2")
    assert run(sql="SELECT 1")[0] == 429
    assert run(sql="SELECT 1")[0] == 200
