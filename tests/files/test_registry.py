"""The types, their options, and types of others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lakebed.errors import ConfigurationError
from lakebed.files import (
    AzureBlobStorage,
    BlobStorage,
    GCSBlobStorage,
    LocalBlobStorage,
    MemoryBlobStorage,
    S3BlobStorage,
    create_blob_storage,
    get_registered_blob_storages,
    register_blob_storage,
)
from lakebed.objects.files.memory import MemoryFiles


def test_types(tmp_path: Path) -> None:
    assert get_registered_blob_storages() == ["azure", "gcs", "local", "memory", "s3"]
    made: list[tuple[str, dict[str, Any], type[BlobStorage], str]] = [
        ("memory", {}, MemoryBlobStorage, "memory"),
        ("local", {"root": tmp_path / "a"}, LocalBlobStorage, str(tmp_path / "a")),
        ("s3", {"bucket": "bucket", "prefix": "a/b"}, S3BlobStorage, "s3://bucket/a/b"),
        ("gcs", {"bucket": "bucket", "token": "anon"}, GCSBlobStorage, "gs://bucket"),
        (
            "azure",
            {"bucket": "bucket", "account_name": "a", "account_key": "aaaa"},
            AzureBlobStorage,
            "az://bucket",
        ),
    ]
    for kind, options, expected, name in made:
        with create_blob_storage(kind, **options) as storage:
            assert type(storage) is expected
            assert repr(storage) == f"<{expected.__name__} {name}>"


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("azur", {}, "unknown blob storage 'azur': did you mean 'azure'"),
        ("s4", {}, "unknown blob storage 's4': expected one of azure, gcs, local, memory, s3"),
        (None, {}, "unknown blob storage None"),
        ("s3", {}, "bucket must be the name of a bucket, got None"),
        ("s3", {"bucket": "a/b"}, "bucket must be the name of a bucket, got 'a/b'"),
        ("s3", {"bucket": "bucket", "prefix": "../x"}, "prefix '../x' must not contain"),
        ("s3", {"bucket": "bucket", "access_key": "a"}, "secret_key is missing"),
        ("s3", {"bucket": "bucket", "secret_key": "a"}, "access_key is missing"),
        ("s3", {"bucket": "bucket", "regoin": "x"}, "regoin: .*did you mean 'region'"),
        ("s3", {"bucket": "bucket", "encryption": "aes"}, "encryption: must be one of sse-s3"),
        ("s3", {"bucket": "bucket", "kms_key_id": "k"}, "requires encryption: sse-kms"),
        ("gcs", {"bucket": "bucket", "access_key": "k"}, "access_key: unknown option"),
        ("azure", {"bucket": "bucket", "acount_key": "k"}, "did you mean 'account_key'"),
        ("local", {}, "root must be the path of a folder, got None"),
        ("local", {"root": ""}, "root must be the path of a folder, got ''"),
        ("local", {"rot": "x"}, "no option 'rot': did you mean 'root'"),
        ("memory", {"root": "x"}, "no option 'root': it has no options"),
    ],
)
def test_wrong_options(kind: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        create_blob_storage(kind, **options)


def test_types_of_others() -> None:
    class Mine(BlobStorage):
        def __init__(self, colour: str) -> None:
            super().__init__(MemoryFiles())
            self.colour = colour

    register_blob_storage("mine", Mine)
    storage = create_blob_storage("mine", colour="red")
    assert isinstance(storage, Mine)
    assert storage.upload("a", b"x")["success"]
    assert "mine" in get_registered_blob_storages()
    with pytest.raises(ConfigurationError, match="no option 'color': did you mean 'colour'"):
        create_blob_storage("mine", color="red")


def test_a_local_storage_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lakebed.files import create_blob_storage\n"
        f"create_blob_storage('local', root={str(tmp_path / 'a')!r}).upload('a', b'x')\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    ran = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert not {"duckdb", "pyarrow", "pydantic", "s3fs", "yaml"} & set(ran.stdout.split())
