"""Stores by the words of configurations, and those of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakebed.documents import (
    AsyncMetadataStore,
    LakeMetadataStore,
    MetadataStore,
    create_metadata_store,
    get_registered_metadata_stores,
    register_metadata_store,
)
from lakebed.errors import ConfigurationError


def test_types() -> None:
    known = get_registered_metadata_stores()
    assert {"lake", "postgres"} <= {*known}
    assert {"lake_async", "postgres_async"} <= {*known}
    for wrong in ("postgre", "", None, 5):
        with pytest.raises(ConfigurationError, match="unknown metadata store"):
            create_metadata_store(wrong)
    with pytest.raises(ConfigurationError, match="did you mean 'postgres'"):
        create_metadata_store("postgre")


def test_async_is_a_word_of_the_type_or_an_option(tmp_path: Path) -> None:
    options = {"path": tmp_path / "lake"}
    assert isinstance(create_metadata_store("lake", **options), MetadataStore)
    assert isinstance(create_metadata_store("lake_async", **options), AsyncMetadataStore)
    for kind, wanted in (("lake", AsyncMetadataStore), ("lake_async", AsyncMetadataStore)):
        assert isinstance(create_metadata_store(kind, **options, **{"async": True}), wanted)
    assert isinstance(create_metadata_store("lake", **options, **{"async": False}), MetadataStore)


def test_one_of_another_package(tmp_path: Path) -> None:
    class Mine(LakeMetadataStore):
        pass

    register_metadata_store("mine", Mine)
    with create_metadata_store("mine", path=tmp_path / "lake") as store:
        assert isinstance(store, Mine)
        assert store.set_document("c", "a", {})["success"]
    with pytest.raises(TypeError, match="abstract"):
        MetadataStore(None)  # type: ignore[abstract, arg-type]
