"""Ibis as the first that a session is asked for: on every catalog, storage and kind of values."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.errors import QueryError
from lakebed.lake.sql.stored_tables import StoredTables
from tests.servers import MariaDBServer, PostgresServer, S3Server

COUNT = 20
LONG = "x" * 5000
CATALOGS = ("sqlite", "postgres", "mariadb")
STORAGES = ("none", "local", "s3")
VALUES = ("inline", "objects", "packs", "all three")


@pytest.fixture(params=[f"{catalog} {storage}" for catalog in CATALOGS for storage in STORAGES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What opens a lake on a catalog and a storage."""
    catalog, storage = request.param.split()
    options: dict[str, Any] = {"catalog": f"sqlite:///{tmp_path / 'catalog.db'}"}
    if catalog == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_18")
        options = {"catalog": server.url(server.create_database())}
    elif catalog == "mariadb":
        other: MariaDBServer = request.getfixturevalue("mariadb")
        options = {"catalog": other.url(f"ibis_{secrets.token_hex(6)}")}
    if storage == "local":
        options["storage"] = tmp_path / "objects"
    elif storage == "s3":
        bucket: S3Server = request.getfixturevalue("s3")
        options["storage"] = bucket.storage(f"s3://{bucket.create_bucket()}/lake")
    return options


def fill(lake: lakebed.Lake, values: str) -> None:
    """Store documents, 20 of each kind, whose `n` add up to 190."""
    documents = [{"key": f"k/{n:02}", "value": {"n": n, "text": LONG}} for n in range(COUNT)]
    small = [{"key": f"s/{n:02}", "value": {"n": n}} for n in range(COUNT)]
    alone = [{**one, "key": f"o/{n:02}"} for n, one in enumerate(documents)]
    if values in ("inline", "all three"):
        lake.store_batch(small)
    if values in ("packs", "all three"):
        lake.store_batch(documents)
    if values in ("objects", "all three"):
        for one in alone:
            value = {"n": one["value"]["n"], "other": LONG}
            lake.store(one["key"], value)


def total(view: Any) -> tuple[int, int]:
    """Of the documents that Ibis shows: how many, and the sum of `n`."""
    documents = view.ibis().table("documents")
    count = int(documents.count().execute())
    numbers = documents.value["n"].int.sum().execute()
    return count, int(numbers)


@pytest.fixture(params=VALUES)
def filled(request: pytest.FixtureRequest, place: dict[str, Any]) -> dict[str, Any]:
    with lakebed.open(**place) as lake:
        fill(lake, request.param)
        lake.create_snapshot("then")
    return {"options": place, "kinds": 3 if request.param == "all three" else 1}


@pytest.mark.sampled("place", 3)
def test_first(filled: dict[str, Any]) -> None:
    """Each door is the first that a new session hears of."""
    kinds = filled["kinds"]
    whole = (COUNT * kinds, 190 * kinds)
    with lakebed.open(**filled["options"]) as lake:
        assert total(lake) == whole
        lake.store("k/more", {"n": 1000})
        assert total(lake) == (whole[0] + 1, whole[1] + 1000)
        assert total(lake.at("then")) == whole
    with lakebed.open(**filled["options"]) as lake:
        assert total(lake.at("then")) == whole
        lake.delete("k/more")
        assert total(lake) == whole
        query = "SELECT count(*), sum((value->>'n')::INTEGER) FROM documents"
        assert lake.sql(query).fetchall() == [whole]
    with lakebed.open(**filled["options"]) as lake:
        lake.store("k/more", {"n": 1000, "text": LONG})
        assert lake.ibis().table("entries").count().execute() == whole[0] + 1
        assert total(lake) == (whole[0] + 1, whole[1] + 1000)
        lake.delete("k/more")
    with lakebed.open(**filled["options"]) as lake, ThreadPoolExecutor(4) as pool:
        views = [lake, lake.at("then")] * 3
        assert list(pool.map(total, views)) == [whole] * 6


def test_a_failure_is_over_with_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        fill(lake, "packs")
        assert total(lake) == (COUNT, 190)
        lake.store("k/more", {"n": 1})
        with monkeypatch.context() as patch:
            patch.setattr(StoredTables, "views", lambda *_: {"entries": "SELECT * FROM nowhere"})
            with pytest.raises(QueryError, match="nowhere"):
                lake.ibis()
        assert total(lake) == (COUNT + 1, 191)
