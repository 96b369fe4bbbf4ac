"""What a lake tells of itself: counted while it is small, estimated where that would take long."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed.catalog.sql import estimating
from lakebed.errors import ValidationError
from lakebed.lake.lake import Lake
from tests.waiting import until

MANY = 3000


@pytest.fixture(params=["sqlite", "postgres_18", "mariadb", "duckdb"])
def lake(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lake]:
    monkeypatch.setattr(estimating, "COUNTED", 1000)
    monkeypatch.setattr(estimating, "_REACH", 800)
    catalog: Any = f"sqlite:///{tmp_path}/catalog.db"
    if request.param == "postgres_18":
        server = request.getfixturevalue(request.param)
        catalog = server.url(server.create_database())
    elif request.param == "mariadb":
        catalog = request.getfixturevalue("mariadb").url(f"t{secrets.token_hex(6)}")
    elif request.param == "duckdb":
        catalog = {"type": "sqlalchemy", "url": f"duckdb:///{tmp_path}/duck.db"}
    with lakebed.open(catalog=catalog, storage=str(tmp_path / "s"), inline_threshold=60) as lake:
        yield lake


def fill(lake: Lake) -> None:
    """A lake in which a third of the contents are shared by two, a third lie in a pack."""
    texts = [f"{n:04} {'y' * (50 if n % 3 else 80)}" for n in range(MANY)]
    lake.store_batch({"key": f"a/{n:04}", "value": text} for n, text in enumerate(texts))
    lake.store_batch(
        {"key": f"b/{n:04}", "value": text} for n, text in enumerate(texts) if n % 3 == 1
    )


def near(found: int, wanted: int, share: float = 0.3) -> bool:
    return (1 - share) * wanted <= found <= (1 + share) * wanted


def test_a_small_lake_is_counted(lake: Lake) -> None:
    lake.store_batch({"key": f"{n}", "value": f"value {n}"} for n in range(999))
    lake.store("again", "value 1")
    found = lake.stats()
    assert (found.entries, found.objects, found.estimated) == (1000, 999, [])
    assert found.deduplicated_bytes == len('"value 1"')
    assert found == lake.stats(exact=True)
    assert "about" not in repr(found) + found._repr_html_()
    with pytest.raises(ValidationError, match="exact"):
        lake.stats(exact=1)  # type: ignore[arg-type]


def test_a_large_one_is_estimated(lake: Lake) -> None:
    fill(lake)
    lake.store("brief", 1, ttl=0.001)
    until(lambda: "brief" not in lake)
    lake.create_snapshot("s")
    counted, found = lake.stats(exact=True), lake.stats()
    assert counted.estimated == []
    assert (counted.entries, counted.expired, counted.objects) == (4 * MANY // 3, 1, MANY + 1)
    names = {name for name in found if found[name] != counted[name]} - {"estimated"}
    assert names <= set(found.estimated)
    executor: Any = lake._catalog._executor  # type: ignore[attr-defined]
    if executor.dialect.name == "portable":  # which counts quickly
        assert found == counted
        return
    assert (found.expired, found.packs, found.snapshots) == (1, 1, 1)
    assert found.estimated[-1] == "deduplicated_bytes"
    assert ("entries" in found.estimated) == (executor.dialect.name != "sqlite")
    for name in ("entries", "objects", "inline_objects"):
        assert near(found[name], counted[name]), name
    for name in ("entry_bytes", "object_bytes", "inline_bytes", "deduplicated_bytes"):
        assert near(found[name], counted[name], 0.4), name
    assert f"objects=about {found.objects}" in repr(found)
    assert "about" in found._repr_html_()
    assert len(lake) == counted.entries
    view = lake.at("s").stats()
    assert (view.entries, view.estimated) == (counted.entries, [])


def test_many_entries_of_few_contents(lake: Lake) -> None:
    lake.store_batch({"key": f"{n:04}", "value": n % 7} for n in range(MANY))
    lake.create_snapshot("s")
    for number in range(5):
        lake.store(f"{number:04}", "other")
    found = lake.stats()
    assert (found.objects, found.history) == (8, 5)
    assert near(found.entries, MANY)
    assert near(found.entry_bytes, MANY, 0.5)
    assert near(found.deduplicated_bytes, MANY, 0.5)


def test_a_table_that_the_server_does_not_know_yet(request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("postgres_18")
    database = server.create_database()
    with lakebed.open(catalog=server.url(database)) as lake:
        server.execute(
            """INSERT INTO lakebed.object
                (content_hash, format, byte_size, inline_value, created_at)
            SELECT sha256(i::text::bytea), 'json', 1, '1', 0 FROM generate_series(1, 20000) i;
            INSERT INTO lakebed.entry (key, version, object_id, metadata, created_at, updated_at)
            SELECT i, i, i, '{}', 0, 0 FROM generate_series(1, 20000) i""",
            database,
        )
        found = lake.stats()
        assert "entries" in found.estimated
        assert near(found.entries, 20_000)
        assert near(found.objects, 20_000)
