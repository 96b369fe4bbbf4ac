"""The catalog's own face and its factories, on every catalog."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed import create_catalog_backend
from lakebed.catalog.opened import CatalogOptions, OpenedCatalog
from lakebed.catalog.registry import register_catalog_backend
from lakebed.catalog.sqlite.opening import open_sqlite
from lakebed.errors import ConfigurationError, ConflictError, NotFoundError, ValidationError
from lakebed.lake.catalog_backend import CatalogBackend
from tests.servers import PostgresServer
from tests.waiting import until

DATA = b"content"
HASH = "sha256:" + hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=["sqlite", "postgres", "mariadb", "duckdb"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "sqlite":
        return {"type": "sqlite", "path": str(tmp_path / "names.db")}
    if request.param == "duckdb":
        return {"type": "sqlalchemy", "url": f"duckdb:///{tmp_path}/names.db"}
    if request.param == "mariadb":
        url = request.getfixturevalue("mariadb").url(f"t{secrets.token_hex(6)}")
        return {"type": "mariadb", "url": url}
    server: PostgresServer = request.getfixturevalue("postgres_18")
    return {"type": "postgres", "url": server.url(), "schema": f"t{secrets.token_hex(6)}"}


@pytest.fixture
def backend(options: dict[str, Any], tmp_path: Path) -> Iterator[CatalogBackend]:
    with create_catalog_backend(**options, storage=str(tmp_path / "storage")) as opened:
        yield opened


def test_track_inline(backend: CatalogBackend) -> None:
    expires = datetime.now(UTC) + timedelta(hours=1)
    entry = backend.track_entry("a", HASH, None, 7, {"n": 1}, DATA, expires)
    assert entry["created"]
    found = backend.get_entry("a")
    assert found is not None
    assert dict(found) == {name: entry[name] for name in found}
    assert (found["content_hash"], found["expires_at"]) == (HASH, expires)
    assert backend.retrieve_batch(["a", "b"]) == {"a": DATA}
    # A second name for it needs no bytes.
    assert backend.track_entry("b", HASH, None, 7)["deduplicated"]


def test_track_what_lies_in_the_storage(backend: CatalogBackend) -> None:
    stored = backend.lake.store("a", b"x" * 10_000)
    entry = backend.track_entry("b", stored.content_hash, stored.storage_uri, 10_000)
    assert entry["storage_uri"] == stored.storage_uri
    assert backend.retrieve_batch(["b"])["b"] == b"x" * 10_000


def test_refused(backend: CatalogBackend) -> None:
    with pytest.raises(NotFoundError, match="no content with the hash"):
        backend.track_entry("a", HASH, None, 7)
    stored = backend.lake.store("big", b"x" * 10_000)
    with pytest.raises(NotFoundError, match="is not stored in"):
        backend.track_entry("a", stored.content_hash, "file:///nowhere", 10_000)
    with pytest.raises(ValidationError, match="must have the hash"):
        backend.track_entry("a", HASH, None, 5, inlined_value=b"other")
    with pytest.raises(ValidationError, match="byte_size"):
        backend.track_entry("a", HASH, None, 8, inlined_value=DATA)
    assert backend.get_entry("a") is None


def test_lists_changes_and_cleans(backend: CatalogBackend) -> None:
    backend.store_batch([{"key": f"k{n}", "value": n, "metadata": {"n": n}} for n in range(5)])
    assert [e["key"] for e in backend.list_entries("k", {"n": {"$gt": 1}}, 2)] == ["k2", "k3"]
    snapshot = backend.create_snapshot("s")
    with pytest.raises(ConflictError):
        backend.create_snapshot("s")
    assert backend.delete_entry("k0")
    assert not backend.delete_entry("k0")
    backend.lake.store("k1", "new")
    backend.lake.store("k9", 9, ttl=0.001)
    until(lambda: "k9" not in backend.lake)
    changes = [(c["key"], c["change"]) for c in backend.get_changed_entries(snapshot["id"])]
    assert changes == [("k0", "removed"), ("k1", "changed")]
    assert len(backend.get_changed_entries()) == 4
    assert backend.cleanup_expired(batch_size=10)["deleted"] == 1
    assert abs(backend.health_check() - datetime.now(UTC)) < timedelta(minutes=1)


def test_one_address_has_three_names(options: dict[str, Any]) -> None:
    address = options.pop("path", None) or options.pop("url")
    for name in ("url", "connection_string", "path"):
        with create_catalog_backend(**options, **{name: address}) as backend:
            backend.lake.store(name, 1)
            assert name in backend.lake
    with pytest.raises(ConfigurationError, match="url and path cannot be combined"):
        create_catalog_backend(**options, url=address, path=address)
    with pytest.raises(ConfigurationError, match="colour"):
        create_catalog_backend(**options, url=address, colour="red")


def test_settings_are_shared(options: dict[str, Any], tmp_path: Path) -> None:
    storage = str(tmp_path / "storage")
    with lakebed.open(catalog=options, storage=storage, inline_threshold=10, history="all") as lake:
        lake.store("a", "x" * 100)
    with lakebed.open(catalog=options) as lake:  # what is left out is as it was
        assert lake["a"] == "x" * 100
        assert lake.store("b", "y" * 100).storage_uri is not None
        assert lake.history("a").complete
    for name, other in (
        ("storage", str(tmp_path / "elsewhere")),
        ("inline_threshold", 11),
        ("history", "snapshots"),
    ):
        with pytest.raises(ConfigurationError, match=f"{name} is .* created with"):
            lakebed.open(catalog=options, **{name: other})


def test_registered(tmp_path: Path) -> None:
    def opener(given: Any, options: CatalogOptions) -> OpenedCatalog:
        return open_sqlite(tmp_path / given["url"].removeprefix("toy://"), options)

    register_catalog_backend("toy", opener, schemes=["toy"])
    with lakebed.open(catalog="toy://a.db") as lake:
        lake.store("a", 1)
    with create_catalog_backend("toy", path="a.db") as backend:
        assert backend.lake["a"] == 1
    with pytest.raises(ConfigurationError, match=r"expected .*'postgres' or .*'toy'"):
        create_catalog_backend("tin", path="a.db")
