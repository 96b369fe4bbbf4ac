"""Lakes whose names live in a service without SQL: opened, configured and examined."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

import lakebed
from lakebed.config.doctor import diagnose
from lakebed.errors import ConfigurationError
from lakebed.ltm import (
    DYNAMODB_AVAILABLE,
    FIRESTORE_AVAILABLE,
    MONGODB_AVAILABLE,
    create_ltm_backend,
)
from tests.servers import PASSWORD, free_port
from tests.services.d1 import D1Server
from tests.services.dynamodb import REGION, DynamoDBServer
from tests.services.firestore import FirestoreServer
from tests.services.mongodb import MongoDBServer
from tests.services.redis import RedisServer

SERVICES = ("dynamodb", "firestore", "mongodb", "d1")
Options = dict[str, Any]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> tuple[str, Options, str]:
    """The type of a catalog, its options, and a URL that means the same."""
    make: dict[str, Callable[..., tuple[Options, str]]] = {
        "dynamodb": in_dynamodb, "firestore": in_firestore, "mongodb": in_mongodb, "d1": in_d1,
    }  # fmt: skip
    if request.param in ("dynamodb", "firestore"):
        request.getfixturevalue({"dynamodb": "in_aws"}.get(request.param, "in_firestore"))
    return request.param, *make[request.param](request.getfixturevalue(request.param))


def in_dynamodb(server: DynamoDBServer) -> tuple[Options, str]:
    table, endpoint = server.new_name(), server.endpoint_url
    options = {"table": table, "prefix": "a/b", "region": REGION, "endpoint_url": endpoint}
    return options, f"dynamodb://{table}/a/b?region={REGION}&endpoint_url={quote(endpoint)}"


def in_firestore(server: FirestoreServer) -> tuple[Options, str]:
    project = server.create_project()
    return {"project": project, "collection": "Names"}, f"firestore://{project}/Names"


def in_mongodb(server: MongoDBServer) -> tuple[Options, str]:
    url = server.url(server.create_database())
    return {"url": url}, url


def in_d1(server: D1Server) -> tuple[Options, str]:
    database, endpoint = server.create_database(), server.endpoint_url
    options = {
        "account_id": server.account_id,
        "database_id": database,
        "api_token": server.api_token,
        "endpoint_url": f"{endpoint}/client/v4",  # or without
    }
    more = f"api_token={quote(server.api_token)}&endpoint_url={quote(endpoint)}"
    return options, f"d1://{server.account_id}/{database}?{more}"


def test_all_ways_lead_to_one_lake(
    service: tuple[str, Options, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, options, url = service
    settings = {"backend": kind, **options}
    (tmp_path / "lakebed.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "url.yaml").write_text(
        yaml.safe_dump({"backend": "duckdb", "catalog": url, "storage": str(tmp_path / "s")})
    )
    ways: list[Callable[[], lakebed.Lake]] = [
        lambda: lakebed.open(catalog={"type": kind, **options}, storage=tmp_path / "s"),
        lambda: lakebed.open(catalog=url, storage=tmp_path / "s"),
        lambda: lakebed.open(tmp_path / "url.yaml"),
        lambda: lakebed.open(catalog={"type": kind, **options, "lazy": True, "timeout": 20}),
    ]
    for number, way in enumerate(ways):
        with way() as lake:
            assert lake.retrieve("n", 0) == number
            lake.store("n", number + 1)
            lake.store("large", "x" * 10_000)
            assert len(lake.search("x" * 10_000)) == 1
            assert PASSWORD not in f"{lake!r} {lake.name}"
    assert not list((tmp_path / "s").glob("catalog*"))  # only contents lie there

    if kind != "mongodb":  # as one text
        monkeypatch.setenv("DATABASE_URL", url)
        with lakebed.open({"backend": "auto", "storage": str(tmp_path / "s")}) as lake:
            assert lake.retrieve("n") == len(ways)


def test_as_memory_of_an_agent(service: tuple[str, Options, str], tmp_path: Path) -> None:
    kind, options, _ = service
    memory = create_ltm_backend(kind, **options, lazy=True)
    assert "not connected" in repr(memory)
    assert memory.store("user/1", {"name": "Ada"}, {"source": "chat"})["success"]
    assert PASSWORD not in repr(memory)
    memory.close()
    (tmp_path / "memory.yaml").write_text(json.dumps({"backend": kind, **options}))
    again = create_ltm_backend(tmp_path / "memory.yaml")
    assert again.retrieve("user/1")["value"] == {"name": "Ada"}
    again.close()


def test_the_doctor_looks_at_it(service: tuple[str, Options, str], tmp_path: Path) -> None:
    kind, options, _ = service
    file = tmp_path / "lakebed.yaml"
    file.write_text(yaml.safe_dump({"backend": kind, **options}))
    before = list(diagnose(str(file)))
    assert not [finding for finding in before if finding.state == "wrong"]
    assert "no lake yet" in before[-2].detail or "no lake yet" in before[-1].detail
    with lakebed.open(file) as lake:
        lake.store("a", 1)
        lake.store("b", 2)
    found = {finding.check: finding for finding in diagnose(str(file))}
    assert {"catalog", "put if absent", "get", "replace", "delete", "log", "lake"} <= found.keys()
    assert all(finding.state == "ok" for finding in found.values())
    assert "answers in" in found["catalog"].detail
    assert "commits" in found["log"].detail
    assert "2 entries" in found["lake"].detail
    assert PASSWORD not in str(found)
    with lakebed.open(file) as lake:
        assert len(lake) == 2


def test_the_doctor_says_what_is_wrong(tmp_path: Path, d1: D1Server) -> None:
    options, _ = in_d1(d1)
    refused = {"backend": "d1", **options, "api_token": "guessed"}
    gone = {"backend": "mongodb", "url": f"mongodb://127.0.0.1:{free_port()}/d", "timeout": 0.2}
    for settings, wanted in ((refused, "refuses access"), (gone, "cannot be reached")):
        (tmp_path / "lakebed.yaml").write_text(yaml.safe_dump(settings))
        last = list(diagnose(str(tmp_path / "lakebed.yaml")))[-1]
        assert (last.check, last.state) == ("catalog", "wrong")
        assert wanted in last.detail


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"backend": "dynamodb"}, "table"),
        ({"backend": "dynamodb", "table": 5}, "table"),
        ({"backend": "dynamodb", "table": "t", "tabel": "t"}, "tabel"),
        ({"backend": "mongodb"}, "url"),
        ({"backend": "d1", "database_id": "d", "api_token": "t"}, "account_id"),
        ({"backend": "d1", "worker_url": "http://w", "account_id": "a"}, "account_id"),
        ({"backend": "firestore", "max_staleness": "soon"}, "max_staleness"),
        ({"backend": "duckdb", "catalog": {"type": "d1"}}, "account_id"),
        ({"backend": "duckdb", "catalog": "dynamodb://"}, "table"),
    ],
)
def test_a_wrong_setting_is_named(settings: Options, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=wanted):
        lakebed.open(settings)


@pytest.mark.parametrize(
    ("catalog", "wanted"),
    [
        ({"type": "dynamodb"}, r"catalog\.table is missing"),
        ({"type": "dynamodb", "table": "t", "tabel": "t"}, "unknown option 'tabel'"),
        ("dynamodb://t?table=t", "twice"),
        ({"type": "dynamodb", "url": "dynamodb://t", "table": "t"}, "twice"),
        ({"type": "d1", "account_id": "a", "database_id": "d"}, "CLOUDFLARE_API_TOKEN"),
        ({"type": "d1", "worker_url": "http://w", "account_id": "a", "api_token": "t"}, "combined"),
        ({"type": "mongodb"}, r"catalog\.url is missing"),
        ({"type": "firestore", "timeout": 0}, r"catalog\.timeout"),
        ({"type": "firestore", "max_staleness": -1}, r"catalog\.max_staleness"),
    ],
)
def test_a_wrong_option_is_named(
    catalog: str | Options, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN", raising=False)
    with pytest.raises(ConfigurationError, match=wanted):
        lakebed.open(catalog=catalog)


def test_failures_as_dictionaries(d1: D1Server) -> None:
    options, _ = in_d1(d1)
    memory = create_ltm_backend("d1", **options, lazy=True, lock_timeout=0.5)
    memory.store("a", 1)
    d1.answer(429, retry_after="7", message="Rate limited", count=50)
    refused = memory.retrieve("a")
    d1.answer(200, count=0)
    assert (refused["success"], refused["error_type"]) == (False, "rate_limited")
    assert refused["retry_after"] == 7.0
    assert memory.retrieve("a")["value"] == 1
    memory.close()


def test_flags() -> None:
    assert (DYNAMODB_AVAILABLE, FIRESTORE_AVAILABLE, MONGODB_AVAILABLE) == (True, True, True)


def test_a_prefix_in_the_url_of_redis_counts_in_a_configuration(redis_server: RedisServer) -> None:
    url, prefix = redis_server.url(), redis_server.create_prefix()
    with lakebed.open({"backend": "redis", "url": f"{url}?prefix={prefix}"}) as lake:
        lake.store("a", 1)
    with lakebed.open(catalog={"type": "redis", "url": url, "prefix": prefix}) as lake:
        assert lake["a"] == 1
