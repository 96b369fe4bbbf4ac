"""What only a lake has: history, snapshots, its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

import lakebed
from lakebed.documents import LakeMetadataStore, create_metadata_store
from lakebed.errors import ConfigurationError
from lakebed.testing.documents.base import failed


def test_history_snapshots_and_sql(tmp_path: Path) -> None:
    with create_metadata_store("lake", path=tmp_path / "lake", history="all") as store:
        store.set_document("users", "ada", {"n": 1})
        store.lake.create_snapshot("before")
        store.update_document("users", "ada", {"n": store.increment(1)})
        assert repr(store.documents) == f"<Documents {store.lake.name}>"
        key = store.key("users", "ada")
        assert key == "documents/users/ada"
        assert [entry.value for entry in store.lake.history(key)] == [{"n": 2}, {"n": 1}]
        assert store.lake.at("before")[key] == {"n": 1}
        store.lake.restore("before")
        assert store.get_document("users", "ada")["data"] == {"n": 1}


def test_any_lake_and_what_else_is_in_it(tmp_path: Path) -> None:
    with lakebed.open(tmp_path / "lake") as lake:
        lake.store("documents", {"n": 0})
        lake.store("other/users/ada", {"n": 0})
        lake.store("documents/users/table", [1, 2])
        with LakeMetadataStore(lake=lake) as store:
            store.set_document("users", "ada", {"n": 1})
            assert store.query("users")["count"] == 1
            assert store.get_document("users", "table")["exists"] is False
            assert store.list_collections()["collections"] == ["users"]
        assert lake["documents/users/ada"] == {"n": 1}  # who opened it closes it
        # A lake for documents alone is one for other values, too.
        scope = lake.scope("tenant/42")
        with LakeMetadataStore(lake=scope) as store:
            assert store.count("users")["count"] == 0
            store.set_document("users", "eve", {})
        assert "tenant/42/documents/users/eve" in lake


def test_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'storage'"):
        create_metadata_store("lake", path=tmp_path, storag="x")
    with pytest.raises(ConfigurationError, match="lake must be an open lake"):
        create_metadata_store("lake", lake=str(tmp_path))
    with (
        pytest.raises(ConfigurationError, match="cannot be combined"),
        lakebed.open(":memory:") as lake,
    ):
        create_metadata_store("lake", lake=lake, path=tmp_path)
    (tmp_path / "file").write_text("not a lake")
    with create_metadata_store("lake", path=tmp_path) as store:
        failed(store.get_document("c", "a"), "configuration_error")
