"""The suite for storages of files, on each type."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from lakebed.files import BlobStorage, create_blob_storage
from lakebed.testing import BlobStorageConformance
from tests.buckets import AzureServer, GCSServer, S3Server
from tests.files.places import on_bucket, on_s3

_NO_URL = "there is no service that could take a URL"
_NO_CLASSES = "there is one storage class"
_NO_RULES = "its rules are set with the tools of the service"


class TestMemoryFiles(BlobStorageConformance):
    gaps: ClassVar = {
        "presigning": _NO_URL,
        "transitions": _NO_CLASSES,
        "reopening": "each storage has its own files",
    }

    def open_storage(self, folder: Path) -> BlobStorage:  # noqa: ARG002
        return create_blob_storage("memory")


class TestLocalFiles(BlobStorageConformance):
    gaps: ClassVar = {
        "presigning": _NO_URL,
        "transitions": _NO_CLASSES,
        "a file and a folder of one name": "a folder of the disk has one or the other",
    }

    def open_storage(self, folder: Path) -> BlobStorage:
        return create_blob_storage("local", root=folder)


class TestS3Files(BlobStorageConformance):
    @pytest.fixture(autouse=True)
    def _server(self, s3: S3Server) -> None:
        self.options = on_s3(s3)

    def open_storage(self, folder: Path) -> BlobStorage:  # noqa: ARG002
        return create_blob_storage("s3", prefix="some/where", **self.options)


class TestGCSFiles(BlobStorageConformance):
    gaps: ClassVar = {
        "presigning": "a stand-in without credentials cannot sign",
        "rules": _NO_RULES,
        "transitions": _NO_RULES,
    }

    @pytest.fixture(autouse=True)
    def _server(self, gcs: GCSServer) -> None:
        self.options = on_bucket(gcs)

    def open_storage(self, folder: Path) -> BlobStorage:  # noqa: ARG002
        return create_blob_storage("gcs", prefix="some/where", **self.options)


class TestAzureFiles(BlobStorageConformance):
    gaps: ClassVar = {"rules": _NO_RULES, "transitions": _NO_RULES}

    @pytest.fixture(autouse=True)
    def _server(self, azure: AzureServer) -> None:
        self.options = on_bucket(azure)

    def open_storage(self, folder: Path) -> BlobStorage:  # noqa: ARG002
        return create_blob_storage("azure", prefix="some/where", **self.options)
