"""What S3 has: encryption, archives, rules of others, parts that are aborted, lost answers."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from lakebed.errors import ConfigurationError, StorageError
from lakebed.files import BlobStorage, create_blob_storage
from lakebed.objects.files import s3 as s3_files
from lakebed.testing.files.base import good, refused
from tests.buckets import S3Server
from tests.files.places import on_s3
from tests.http_proxy import Answer, http_proxy
from tests.objects.test_documented_services import SERVICES
from tests.proxy import faulty_proxy
from tests.servers import PASSWORD, free_port

KEY = "arn:aws:kms:us-east-1:123456789012:key/0123abcd"
LARGE = bytes(6 << 20)


@pytest.fixture
def options(s3: S3Server) -> dict[str, Any]:
    return on_s3(s3)


@pytest.fixture
def storage(options: dict[str, Any]) -> Iterator[BlobStorage]:
    with create_blob_storage("s3", **options) as storage:
        yield storage


@pytest.fixture
def client(options: dict[str, Any]) -> Iterator[Any]:
    import boto3

    with closing(
        boto3.client(
            "s3",
            endpoint_url=options["endpoint_url"],
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key=PASSWORD,
        )
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("encryption", "told"),
    [
        ({"encryption": "SSE-S3"}, ("AES256", None)),
        ({"encryption": "sse-s3"}, ("AES256", None)),
        ({"encryption": "SSE-KMS", "kms_key_id": KEY}, ("aws:kms", KEY)),
        ({"encryption": "sse-Kms", "kms_key_id": KEY}, ("aws:kms", KEY)),
    ],
    ids=str,
)
def test_encryption(
    options: dict[str, Any], client: Any, encryption: dict[str, str], told: tuple[str, str | None]
) -> None:
    """Of each way to write: whole, in parts, copied, from outside."""
    with create_blob_storage("s3", **options, **encryption) as storage:
        assert good(storage.upload("whole", b"x"))["encryption"] == told[0]
        good(storage.upload_file("parts", io.BytesIO(LARGE), part_size=5 << 20))
        good(storage.copy("whole", "copy"))
        signed = good(storage.presign("put", method="PUT"))
        headers = {"content-type": "a/b", **signed["headers"]}
        assert requests.put(signed["url"], b"x", headers=headers, timeout=30).status_code == 200
        for path in ("whole", "parts", "copy", "put"):
            head = client.head_object(Bucket=options["bucket"], Key=path)
            assert (head["ServerSideEncryption"], head.get("SSEKMSKeyId")) == told
            info = storage.info(path)
            assert (info["encryption"], info["kms_key_id"]) == told


def test_a_service_that_does_not_encrypt(options: dict[str, Any], s3: S3Server) -> None:
    with http_proxy(s3.port) as proxy:
        proxy.alter = lambda asked: asked._replace(
            headers={k: v for k, v in asked.headers.items() if "server-side" not in k}
        )
        options |= {"endpoint_url": proxy.url, "encryption": "SSE-S3"}
        with create_blob_storage("s3", **options) as storage:
            message = refused(storage.upload("a", b"x"), "storage_error")
            assert "encrypted with AES256, but the service used nothing" in message


@pytest.mark.parametrize("name", SERVICES)
def test_services_of_the_guide(name: str, options: dict[str, Any], s3: S3Server) -> None:
    """With the settings that the guide on storages gives."""
    import yaml

    settings = yaml.safe_load(SERVICES[name])["storage"]
    for given in ("uri", "endpoint_url", "key", "secret"):
        del settings[given]
    with http_proxy(s3.port) as proxy:
        options |= {"endpoint_url": proxy.url, **settings}
        with create_blob_storage("s3", **options) as storage:
            good(storage.upload("a", b"x", metadata={"k": "v"}))
            good(storage.upload_file("b", io.BytesIO(LARGE), part_size=5 << 20))
            assert storage.download("b")["content"] == LARGE
            assert good(storage.delete_many(["a", "b"]))["deleted_count"] == 2
    newer = settings.get("checksums") != "when_required"
    written = [heard for heard in proxy.heard if heard.method == "PUT"]
    assert len(written) == 3
    for heard in written:
        assert any(header.startswith("x-amz-checksum-") for header in heard.headers) is newer
        assert ("content-md5" in heard.headers) is not newer


def test_uploads_that_fail_are_aborted(
    storage: BlobStorage, options: dict[str, Any], client: Any
) -> None:
    def stop(done: int, total: int | None) -> None:
        raise ZeroDivisionError(done, total)

    with pytest.raises(ZeroDivisionError):
        storage.files.upload_file("a", io.BytesIO(LARGE), part_size=5 << 20, progress=stop)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=options["bucket"])
    assert not storage.files.exists("a")


def test_nothing_outside_of_the_prefix(storage: BlobStorage, options: dict[str, Any]) -> None:
    for path in ("tenant/a", "tenant2/b", "other"):
        good(storage.upload(path, path))
    with create_blob_storage("s3", prefix="tenant", **options) as ours:
        assert [file["path"] for file in ours.list()["files"]] == ["a"]
        assert [file["path"] for file in ours.list("a", after="Z")["files"]] == ["a"]
        assert ours.list(delimiter="/")["prefixes"] == []
        refused(ours.download("../other"), "validation_error")
        good(ours.delete_many(["b", "other", "a"]))
    assert [file["path"] for file in storage.list()["files"]] == ["other", "tenant2/b"]


def test_rules_of_others_stay(options: dict[str, Any], client: Any) -> None:
    others = [
        {"ID": "mine too", "Filter": {"Prefix": "other/"}, "Status": "Enabled",
         "Expiration": {"Days": 5}},
        {"ID": "tagged", "Status": "Enabled", "Expiration": {"Days": 6},
         "Filter": {"And": {"Prefix": "tenant/x", "Tags": [{"Key": "a", "Value": "b"}]}}},
    ]  # fmt: skip
    client.put_bucket_lifecycle_configuration(
        Bucket=options["bucket"], LifecycleConfiguration={"Rules": others}
    )
    with create_blob_storage("s3", prefix="tenant", **options) as storage:
        assert storage.lifecycle()["rules"] == []
        good(storage.set_lifecycle([{"id": "ours", "prefix": "logs/", "expire_days": 3}]))
        told = client.get_bucket_lifecycle_configuration(Bucket=options["bucket"])["Rules"]
        assert {(rule["ID"], rule["Expiration"]["Days"]) for rule in told} == {
            ("mine too", 5), ("tagged", 6), ("ours", 3),
        }  # fmt: skip
        (ours,) = [rule for rule in told if rule["ID"] == "ours"]
        assert ours["Filter"]["Prefix"] == "tenant/logs/"
        good(storage.set_lifecycle([]))
        told = client.get_bucket_lifecycle_configuration(Bucket=options["bucket"])["Rules"]
        assert {rule["ID"] for rule in told} == {"mine too", "tagged"}


def test_large_files_are_copied_in_parts(
    storage: BlobStorage, options: dict[str, Any], client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_files, "COPY_BYTES", 5 << 20)
    good(storage.upload_file("a", io.BytesIO(LARGE), "text/x-mine", {"k": "ä"}, part_size=6 << 20))
    copied = good(storage.copy("a", "b"))
    assert (copied["size"], copied["content_type"]) == (len(LARGE), "text/x-mine")
    assert copied["metadata"] == {"k": "ä"}
    etag = client.head_object(Bucket=options["bucket"], Key="b")["ETag"]
    assert etag.strip('"').endswith("-2")
    assert storage.download("b")["content"] == LARGE


def test_archived_files(ministack_s3: S3Server) -> None:
    import boto3

    options = on_s3(ministack_s3)
    with (
        create_blob_storage("s3", **options) as storage,
        closing(
            boto3.client(
                "s3", endpoint_url=ministack_s3.endpoint_url, region_name="us-east-1",
                aws_access_key_id="testing", aws_secret_access_key=PASSWORD,
            )
        ) as client,
    ):  # fmt: skip
        client.put_object(Bucket=options["bucket"], Key="a", Body=b"x", StorageClass="GLACIER")
        info = good(storage.info("a"))
        assert (info["storage_class"], info["archived"], info["restore"]) == (
            "GLACIER", True, None,
        )  # fmt: skip
        assert storage.list()["files"][0]["storage_class"] == "GLACIER"
        assert "archived" in refused(storage.download("a"), "storage_error")
        client.restore_object(Bucket=options["bucket"], Key="a", RestoreRequest={"Days": 3})
        info = good(storage.info("a"))
        assert info["restore"] in ("ongoing", "restored")
        assert (info["restored_until"] is None) is (info["restore"] == "ongoing")


def test_a_lost_answer_is_no_conflict(options: dict[str, Any], s3: S3Server) -> None:
    """The write happened, and its repetition is refused: by its mark the file is known as ours."""
    with faulty_proxy(s3.port) as proxy:
        options |= {"endpoint_url": f"http://127.0.0.1:{proxy.port}"}
        with create_blob_storage("s3", **options) as storage:
            good(storage.upload("warm", b"x"))
            for number in range(3):
                proxy.lose = 1
                good(storage.upload(f"a{number}", b"ours", if_absent=True, metadata={"k": "v"}))
                assert storage.info(f"a{number}")["metadata"] == {"k": "v"}
                proxy.lose = 1
                refused(storage.upload(f"a{number}", b"ours", if_absent=True), "conflict")


def test_secrets_are_nowhere(
    options: dict[str, Any], s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[object] = []

    def forbid(_: object) -> Answer:
        body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
        return Answer(403, body)

    with http_proxy(s3.port) as proxy:
        proxy.refuse = forbid
        for endpoint in (proxy.url, f"http://127.0.0.1:{free_port()}", "nonsense"):
            given = options | {
                "endpoint_url": endpoint, "access_key": "AKIACANARY",
                "secret_key": "s3cret-canary", "retry_timeout": 0.5,
            }  # fmt: skip
            with create_blob_storage("s3", **given) as storage:
                seen += [storage, storage.files, vars(storage)]
                for result in (
                    storage.upload("a", b"x"), storage.download("a"), storage.list(),
                    storage.upload_file("a", io.BytesIO(LARGE)), storage.lifecycle(),
                ):  # fmt: skip
                    assert result["success"] is False
                    seen.append(result)
    for wrong in ({"secret_kee": "s3cret-canary"}, {"encryption": "x"}):
        with pytest.raises(ConfigurationError) as caught:
            create_blob_storage("s3", **options, **wrong)
        seen.append(caught.value)
    text = " ".join([*map(repr, seen), *map(str, seen), caplog.text])
    assert "s3cret-canary" not in text
    assert PASSWORD not in text


def test_a_missing_bucket(options: dict[str, Any]) -> None:
    with create_blob_storage("s3", **(options | {"bucket": "no-such-bucket"})) as storage:
        with pytest.raises(StorageError, match="there is no bucket 'no-such-bucket'"):
            storage.files.upload("a", b"x")
        assert storage.list()["error_type"] == "storage_error"
