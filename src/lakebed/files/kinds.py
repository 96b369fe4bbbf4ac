"""The types of storage. They differ only in where the files are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from lakebed.errors import ConfigurationError
from lakebed.files.storage import BlobStorage
from lakebed.objects.opening import wrong_options

_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{1,221}")


def _uri(scheme: str, bucket: object, prefix: object) -> str:
    """Return the URI of files under a prefix of a bucket."""
    from lakebed.files.checks import check_prefix

    if not isinstance(bucket, str) or not _BUCKET.fullmatch(bucket):
        raise ConfigurationError(f"bucket must be the name of a bucket, got {bucket!r}")
    checked = check_prefix("" if prefix is None else prefix).rstrip("/")
    return f"{scheme}://{bucket}/{checked}".rstrip("/")


def _known(uri: str, options: Mapping[str, object]) -> dict[str, Any]:
    """Return the options that are not None. Raises ConfigurationError for an unknown one."""
    given = {name: value for name, value in options.items() if value is not None}
    for name, problem in wrong_options(uri, given).items():
        raise ConfigurationError(f"{name}: {problem}")
    return given


class S3BlobStorage(BlobStorage):
    """Files in a bucket of S3, or of a service that speaks its protocol.

    `prefix`: a folder of the bucket. Nothing outside it is read or written. `endpoint_url`: the
    address of a service other than Amazon's. `access_key` and `secret_key`: if they are left out,
    the credentials come from the environment. `encryption`: `SSE-S3` or `SSE-KMS`, in upper or
    lower case. `kms_key_id`: the key for `SSE-KMS`. Other options are those of `storage` in a
    configuration, such as `addressing_style`, `checksums`, `token`, `max_connections` and
    `retry_timeout`.

    Raises ConfigurationError for an invalid option, and DependencyMissingError without the extra
    `s3`.
    """

    def __init__(
        self,
        bucket: str | None = None,
        *,
        prefix: str = "",
        region: str | None = None,
        endpoint_url: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        encryption: str | None = None,
        **options: object,
    ) -> None:
        uri = _uri("s3", bucket, prefix)
        if (access_key is None) != (secret_key is None):
            missing = "secret_key" if secret_key is None else "access_key"
            raise ConfigurationError(f"{missing} is missing: give both keys or none")
        named = {"key": access_key, "secret": secret_key} if access_key is not None else {}
        given = _known(
            uri,
            {
                **options, **named, "region": region, "endpoint_url": endpoint_url,
                "encryption": encryption,
            },
        )  # fmt: skip
        from lakebed.objects.files.s3 import S3Files

        super().__init__(S3Files(uri, given))


class GCSBlobStorage(BlobStorage):
    """Files in a bucket of Google Cloud Storage.

    `prefix`: a folder of the bucket. Nothing outside it is read or written. `token`: the key of a
    service account, as a path or its content. If it is left out, the credentials come from the
    environment. `kms_key_id`: the resource name of a key in Cloud KMS. Other options are those of
    `storage` in a configuration.

    Raises ConfigurationError for an invalid option, and DependencyMissingError without the extra
    `gcs`.
    """

    def __init__(
        self,
        bucket: str | None = None,
        *,
        prefix: str = "",
        endpoint_url: str | None = None,
        **options: object,
    ) -> None:
        uri = _uri("gs", bucket, prefix)
        given = _known(uri, {**options, "endpoint_url": endpoint_url})
        from lakebed.objects.files.gcs import GCSFiles

        super().__init__(GCSFiles(uri, given))


class AzureBlobStorage(BlobStorage):
    """Files in a container of Azure Blob Storage.

    `bucket`: the container. `prefix`: a folder of it. Nothing outside it is read or written. Give
    `connection_string`, or `account_name` with `account_key` or `sas_token`. With neither key nor
    token, the identity comes from the environment. `encryption_scope`: the name of a scope of the
    account. Other options are those of `storage` in a configuration.

    Raises ConfigurationError for an invalid option, and DependencyMissingError without the extra
    `azure`.
    """

    def __init__(
        self,
        bucket: str | None = None,
        *,
        prefix: str = "",
        account_name: str | None = None,
        account_key: str | None = None,
        connection_string: str | None = None,
        **options: object,
    ) -> None:
        uri = _uri("az", bucket, prefix)
        given = _known(
            uri,
            {
                **options, "account_name": account_name, "account_key": account_key,
                "connection_string": connection_string,
            },
        )  # fmt: skip
        from lakebed.objects.files.azure import AzureFiles

        super().__init__(AzureFiles(uri, given))


class LocalBlobStorage(BlobStorage):
    """Files in a local folder, under their own names.

    `root`: the folder. The first write creates it. Its subfolder `.lakebed` has content types and
    metadata, lifecycle rules and unfinished uploads.

    Raises ConfigurationError if `root` is not a path.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        if not isinstance(root, (str, os.PathLike)) or not os.fspath(root):
            raise ConfigurationError(f"root must be the path of a folder, got {root!r}")
        from lakebed.objects.files.local import LocalFiles

        super().__init__(LocalFiles(root))


class MemoryBlobStorage(BlobStorage):
    """Files in the memory of this process. They are gone when the storage is closed."""

    def __init__(self) -> None:
        from lakebed.objects.files.memory import MemoryFiles

        super().__init__(MemoryFiles())
