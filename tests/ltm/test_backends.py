"""Making backends: types, options, laziness, the registry, configurations."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import lakebed
from lakebed import ltm
from lakebed.errors import (
    ConfigurationError,
    ConnectError,
    LakebedError,
    RateLimitedError,
    ValidationError,
)
from lakebed.ltm import (
    DuckDBBackend,
    LTMBackend,
    PostgresBackend,
    SQLiteBackend,
    compute_content_hash,
    create_ltm_backend,
    get_registered_backends,
    open_memory,
    parse_backend_config,
    parse_catalog_config,
    register_backend,
)
from lakebed.ltm.registry import ENTRY_POINTS

NOBODY = "postgresql://ada:s3cret@127.0.0.1:1/d"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "POSTGRES_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_all_names_are_there() -> None:
    assert {type(getattr(ltm, name)) for name in ltm.__all__ if name.endswith("_AVAILABLE")} == {
        bool
    }
    assert get_registered_backends() == [
        "blob-sqlite", "bucket", "d1", "duckdb", "ducklake", "dynamodb", "firestore", "litestream",
        "mongodb", "postgres", "redis", "sqlalchemy", "sqlite", "turso",
    ]  # fmt: skip


def test_the_classes(folder: Path) -> None:
    with SQLiteBackend(folder / "a.db") as memory:
        assert memory.store("k", "x" * 10_000)["inlined"] is True
    with DuckDBBackend(f"sqlite:///{folder}/n.db", folder / "c") as memory:
        stored = memory.store("k", "x" * 10_000)
        assert stored["inlined"] is False
        assert stored["storage_uri"].startswith(f"file://{folder}/c/objects/")
    with DuckDBBackend(storage="lake", inline_threshold=0, history="all") as memory:
        assert memory.store("k", 1)["inlined"] is False
        assert len(list(memory.lake.history("k"))) == 1
    with create_ltm_backend() as memory:
        memory.store("k", 1)
    assert (folder / "lakebed.db").is_file()


def test_over_a_lake_of_the_callers() -> None:
    with lakebed.open(":memory:") as lake:
        memory = LTMBackend(lake)
        memory.store("k", 1)
        assert lake["k"] == 1
        assert memory.lake is lake
        assert repr(memory) == "<LTMBackend :memory:>"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("sqlte", {}, "unknown LTM backend 'sqlte': expected one of blob-sqlite, bucket, d1"),
        ("auto", {}, "unknown LTM backend 'auto'"),
        ("sqlite", {"pth": "a"}, "pth: unknown key: did you mean 'path'?"),
        ("sqlite", {"storage": "a"}, "backend sqlite has no storage"),
        ("sqlite", {"path": "a", "inline_threshold": -1}, "expected 0 or more"),
        ("duckdb", {"catalog": "postgress"}, "did you mean 'postgres'?"),
        ("postgres", {}, "POSTGRES_HOST"),
        ("sqlalchemy", {}, "url: is missing"),
        ("sqlite", {"lazy": True, "history": "some"}, "history: 'some' is unknown"),
    ],
)
def test_a_constructor_raises(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        create_ltm_backend(kind, **options)
    assert isinstance(caught.value, ConfigurationError)
    assert message in str(caught.value)


def test_nothing_is_interpolated_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD", "${NOPE}{{ env.NOPE }}")
    kind, options = parse_backend_config({"backend": "sqlite", "path": "${ODD}.db"})
    with create_ltm_backend(kind, **options) as memory:
        assert memory.store("k", 1)["success"]
    assert (folder / "${NOPE}{{ env.NOPE }}.db").is_file()


def test_a_server_that_does_not_answer() -> None:
    with pytest.raises(ConnectError):
        PostgresBackend(NOBODY, timeout=1)
    memory = PostgresBackend(NOBODY, timeout=1, lazy=True)
    assert repr(memory) == "<PostgresBackend not connected>"
    transaction = memory.transaction()
    for result in (
        memory.store("k", 1),
        memory.search("x"),
        memory.store_batch([{"key": "k", "value": 1}]),
        transaction.store("k", 1),
        transaction.commit(),
    ):
        assert (result["success"], result["error_type"]) == (False, "connection_error")
        assert "s3cret" not in str(result)
    with pytest.raises(ConnectError):
        next(memory.iterate_all())
    memory.close()
    assert memory.store("k", 1)["error_type"] == "catalog_error"


def test_a_missing_package() -> None:
    code = (
        "import sys\n"
        "sys.modules['psycopg'] = sys.modules['psycopg_pool'] = None\n"
        "from lakebed.errors import DependencyMissingError\n"
        "from lakebed.ltm import create_ltm_backend\n"
        "try:\n"
        f"    create_ltm_backend('postgres', connection_string={NOBODY!r})\n"
        "except DependencyMissingError as error:\n"
        "    assert 'pip install' in str(error)\n"
        "else:\n"
        "    raise AssertionError\n"
        f"memory = create_ltm_backend('postgres', connection_string={NOBODY!r}, lazy=True)\n"
        "print(memory.retrieve('k')['error_type'])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=False)
    assert ran.stdout == "dependency_missing\n", ran.stderr


def test_a_lazy_backend_connects_once_and_when_it_can(folder: Path) -> None:
    opened = []
    start = threading.Barrier(8)

    def connect() -> lakebed.Lake:
        opened.append(1)
        if len(opened) == 1:
            raise ConnectError("not yet")
        return lakebed.open(folder / "lake")

    with LTMBackend(connect) as memory:
        assert not opened
        assert memory.retrieve("k")["error_type"] == "connection_error"

        def store(number: int) -> bool:
            start.wait()
            return bool(memory.store(f"k{number}", number)["success"])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(store, range(8)))
        assert len(opened) == 2


def test_register(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def make(**options: object) -> LTMBackend:
        seen.append(options)
        return SQLiteBackend(":memory:")

    register_backend("mine", make)
    assert "mine" in get_registered_backends()
    create_ltm_backend("mine", a=1).close()
    monkeypatch.setenv("TOKEN", "s3cret")
    (folder / "m.yaml").write_text("settings: {ltm: {backend: mine, token: '${TOKEN}'}}")
    kind, options = parse_backend_config("m.yaml")
    create_ltm_backend(kind, **options).close()
    assert seen == [{"a": 1}, {"token": "s3cret"}]
    assert "s3cret" not in repr(options)


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\noutside = outside_ltm:make\n")
    (tmp_path / "outside_ltm.py").write_text(
        "from lakebed.ltm import SQLiteBackend\n"
        "def make(**options):\n    return SQLiteBackend(':memory:', **options)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "outside" in get_registered_backends()
    with create_ltm_backend("outside", history="all") as memory:
        assert memory.store("k", 1)["success"]


def test_from_a_configuration_file(folder: Path) -> None:
    (folder / "agent.yaml").write_text("settings: {ltm: {backend: sqlite, path: agent.db}}")
    for where in ("agent.yaml", folder / "agent.yaml"):
        with create_ltm_backend(where) as memory:
            assert isinstance(memory, SQLiteBackend)
            memory.store("a", 1)
    with create_ltm_backend("agent.yaml", path="other.db") as memory:  # options go before the file
        assert not memory.retrieve("a")["found"]
    with open_memory("agent.yaml", read_only=True) as memory:
        assert memory.retrieve("a")["value"] == 1
        assert memory.store("a", 2)["error_type"] == "read_only"
    with pytest.raises(ConfigurationError, match=r"missing\.yaml"):
        create_ltm_backend("missing.yaml")
    with pytest.raises(ConfigurationError, match=r"or a file that ends in \.yaml"):
        create_ltm_backend(folder)


def test_open_memory_opens_what_open_opens(folder: Path) -> None:
    with open_memory() as memory:
        memory.store("where", "the folder")
    with lakebed.open() as lake:
        assert lake["where"] == "the folder"
    with open_memory(folder / "elsewhere") as memory:
        assert len(memory.lake) == 0

    (folder / "lakebed.yaml").write_text("{backend: sqlite, path: named.db}")
    with pytest.raises(ConfigurationError, match="name the one that you want"):
        open_memory()
    (folder / "lakebed").rename(folder / "moved")
    with open_memory() as memory:
        memory.store("where", "the file")
    with lakebed.open() as lake:
        assert lake["where"] == "the file"


def test_parse_backend_config(folder: Path) -> None:
    kind, options = parse_backend_config({"settings": {"ltm": {"backend": "ducklake"}}})
    assert (kind, options["path"]) == ("ducklake", str(folder / "lakebed"))
    kind, options = parse_backend_config({"backend": "auto", "history": "all"})
    assert (kind, options["history"]) == ("ducklake", "all")
    kind, options = parse_backend_config({"backend": "postgres", "url": NOBODY})
    assert options["connection_string"] == NOBODY
    assert "s3cret" not in repr((kind, options))
    with pytest.raises(ConfigurationError, match="did you mean 'sqlite'"):
        parse_backend_config({"backend": "sqlit"})
    with pytest.raises(ConfigurationError, match=r"must be the path of a YAML file, .*got int"):
        parse_backend_config(5)  # type: ignore[arg-type]


def test_parse_catalog_config(folder: Path) -> None:
    assert parse_catalog_config("sqlite:///n.db") == ("sqlite", {"path": str(folder / "n.db")})
    kind, options = parse_catalog_config({"type": "postgres", "url": NOBODY, "schema": "s"})
    assert kind == "postgres"
    assert options.items() >= {"connection_string": NOBODY, "schema": "s"}.items()
    assert "s3cret" not in repr(options)
    for wrong in ("postgress", {"path": "a"}, None):
        with pytest.raises(ConfigurationError):
            parse_catalog_config(wrong)  # type: ignore[arg-type]


def test_compute_content_hash() -> None:
    with SQLiteBackend(":memory:") as memory:
        for value in ({"b": 1, "a": [1.0, None]}, b"bytes", "text"):
            assert memory.store("k", value)["content_hash"] == compute_content_hash(value)
    with pytest.raises(LakebedError):
        compute_content_hash({1, 2})


def test_a_service_that_asks_to_slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(*_: object, **__: object) -> None:
        raise RateLimitedError("slow down", retry_after=2.5)

    with SQLiteBackend(":memory:") as memory:
        monkeypatch.setattr(lakebed.Lake, "read_entry", limited)
        assert memory.retrieve("k") == {
            "success": False,
            "error": "slow down",
            "error_type": "rate_limited",
            "retry_after": 2.5,
        }


def test_one_damaged_value_does_not_hide_the_others(folder: Path) -> None:
    with DuckDBBackend(storage="lake", inline_threshold=0) as memory:
        memory.store("bad", "x")
        memory.store("good", "y")
        (path,) = [
            path
            for path in (folder / "lake" / "objects").rglob("*.*")
            if path.read_bytes() == b'"x"'
        ]
        path.write_bytes(b'"z"')
        read = memory.retrieve_batch(["bad", "good", "absent"])
        assert (read["success"], read["error_type"]) == (False, "corruption_error")
        assert read["entries"]["good"]["value"] == "y"
        assert read["entries"]["absent"] is None
        assert read["entries"]["bad"]["error_type"] == "corruption_error"
        assert (read["found_count"], read["missing_count"]) == (1, 1)
        assert memory.retrieve("bad")["error_type"] == "corruption_error"


def test_programming_errors_are_raised() -> None:
    class Broken(Exception):
        pass

    def entries() -> Any:
        yield {"key": "a", "value": 1}
        raise Broken

    with SQLiteBackend(":memory:") as memory:
        with pytest.raises(Broken):
            memory.store_batch(entries())
        assert list(memory.iterate_all()) == []
        result = memory.store_batch({"a": 1})  # type: ignore[arg-type]
        assert result["error"].endswith("got a single dict")
        assert (result["error_type"], result["failed_count"]) == ("validation_error", 0)
        with pytest.raises(TypeError):
            memory.store("k")  # type: ignore[call-arg]
        with pytest.raises(ValidationError):
            list(memory.lake.list(limit=-1))
