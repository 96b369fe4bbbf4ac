"""What the examination of a storage finds, and that it leaves nothing there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lakebed.errors import ConnectError, StorageError
from lakebed.objects.examination import Look, examine
from lakebed.objects.local import LocalStore
from lakebed.objects.opening import open_store
from tests.buckets import AzureServer, BucketServer, GCSServer, GuardedS3, S3Server
from tests.http_proxy import Answer, HttpProxy, Request, http_proxy

SCHEMES = {"s3": "s3", "gcs": "gs", "azure": "az"}
RIGHTS = ["list", "write", "read", "delete"]


@pytest.fixture(params=SCHEMES)
def service(request: pytest.FixtureRequest) -> tuple[str, BucketServer]:
    return SCHEMES[request.param], request.getfixturevalue(request.param)


@pytest.fixture
def proxy(service: tuple[str, BucketServer]) -> Iterator[HttpProxy]:
    with http_proxy(service[1].port) as proxy:
        yield proxy


def through(server: BucketServer, uri: str, proxy: HttpProxy) -> dict[str, Any]:
    options = server.storage(uri)
    if isinstance(server, AzureServer):
        return options | {"connection_string": server.connection_string(proxy.port)}
    return options | {"endpoint_url": proxy.url}


def look(options: dict[str, Any], wait: float = 30) -> dict[str, tuple[str, str]]:
    """What is found of each check, in order."""
    options = dict(options)
    uri = str(options.pop("uri"))
    looks = list(examine(uri, options, uri, wait))
    assert all(isinstance(look, Look) for look in looks)
    return {look.check: (look.state, look.detail) for look in looks}


def states(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {check: state for check, (state, _) in found.items()}


def files(options: dict[str, Any]) -> list[str]:
    options = dict(options)
    store = open_store(str(options.pop("uri")), options)
    try:
        return [file.path for file in store.list("")]
    finally:
        store.close()


def test_all_is_well(service: tuple[str, BucketServer], proxy: HttpProxy) -> None:
    scheme, server = service
    options = through(server, f"{scheme}://{server.create_bucket()}/lake", proxy)
    found = look(options)
    assert {c: f for c, f in found.items() if f[0] != "ok"} == {}
    region = [] if scheme == "az" else ["region"]  # Azure does not tell it
    first, last = ["storage", *region, "clock", "list"], ["write", "read", "conditions", "delete"]
    assert list(found) == [*first, *last]
    assert f"{options['uri']} answers in " in found["storage"][1]
    assert found["conditions"][1] == "conditional writes are honoured"
    assert files(options) == []
    written = [heard.path for heard in proxy.heard if ".probe" in heard.path]
    assert written
    assert all("objects" in path for path in written)


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_a_clock_that_is_off(
    service: tuple[str, BucketServer], proxy: HttpProxy, ahead: int
) -> None:
    """The proxy changes the header Date; no emulator has another clock than ours."""
    scheme, server = service
    proxy.ahead = ahead
    found = look(through(server, f"{scheme}://{server.create_bucket()}/lake", proxy))
    state, detail = found["clock"]
    assert state == "note"
    assert (
        f"the service's clock is {'+3600' if ahead > 0 else '-3600'}." in detail
        or "3599." in detail
    )
    assert "correct this one" in detail


def test_no_bucket(service: tuple[str, BucketServer]) -> None:
    scheme, server = service
    with pytest.raises(StorageError, match=r"^cannot find .*there is no bucket 'no-such-bucket'"):
        look(server.storage(f"{scheme}://no-such-bucket/lake"))


def test_nobody_answers(service: tuple[str, BucketServer], proxy: HttpProxy) -> None:
    scheme, server = service
    options = through(server, f"{scheme}://bucket/lake", proxy)
    proxy.refuse = lambda _: Answer(500)
    with pytest.raises(StorageError, match="cannot find"):
        look(options, wait=0.5)
    proxy.server_close()
    with pytest.raises(ConnectError, match="does not answer, tried for 0 s"):
        look(options, wait=0.5)


def refusal(scheme: str) -> Answer:
    """How the service says that somebody may not."""
    if scheme == "s3":
        return Answer(403, b"<Error><Code>AccessDenied</Code><Message>No.</Message></Error>")
    if scheme == "gs":
        return Answer(403, json.dumps({"error": {"code": 403, "message": "No."}}).encode())
    body = b"<Error><Code>AuthorizationPermissionMismatch</Code><Message>No.</Message></Error>"
    return Answer(403, body, {"x-ms-error-code": "AuthorizationPermissionMismatch"})


def is_delete(request: Request) -> bool:
    return request.method == "DELETE" or request.path.endswith("?delete")


def is_read(request: Request) -> bool:
    return request.method == "GET" and ".probe" in request.path


def is_write(request: Request) -> bool:
    return request.method in ("PUT", "POST") and ".probe" in request.path


@pytest.mark.parametrize(("denied", "name"), [(is_read, "read"), (is_write, "write")])
def test_the_file_goes_when_a_step_fails(
    service: tuple[str, BucketServer],
    proxy: HttpProxy,
    denied: Callable[[Request], bool],
    name: str,
) -> None:
    """The proxy refuses in the service's words."""
    scheme, server = service
    options = through(server, f"{scheme}://{server.create_bucket()}/lake", proxy)
    proxy.refuse = lambda asked: refusal(scheme) if denied(asked) else None
    found = look(options)
    assert found[name][0] == "wrong"
    assert "no right to it in the bucket" in found[name][1]
    assert found["list"][0] == found["delete"][0] == "ok"
    assert files(options) == []


def test_a_write_whose_answer_is_lost_goes_too(
    service: tuple[str, BucketServer], proxy: HttpProxy
) -> None:
    """It has happened, though the service says that it failed."""
    scheme, server = service
    options = through(server, f"{scheme}://{server.create_bucket()}/lake", proxy)
    answer = proxy.answer

    def failing(request: Request, body: bytes) -> Answer:
        real = answer(request, body)
        return Answer(500) if is_write(request) else real

    proxy.answer = failing  # type: ignore[method-assign]
    assert look(options, wait=2)["write"][0] == "wrong"
    proxy.answer = answer  # type: ignore[method-assign]
    assert any(is_write(request) for request in proxy.heard)
    assert files(options) == []


def test_nothing_is_written_without_the_right_to_delete(
    service: tuple[str, BucketServer], proxy: HttpProxy
) -> None:
    scheme, server = service
    options = through(server, f"{scheme}://{server.create_bucket()}/lake", proxy)
    proxy.refuse = lambda asked: refusal(scheme) if is_delete(asked) else None
    found = look(options)
    assert found["delete"][0] == "wrong"
    assert found["write"] == (
        "note", "not tested, because without the right to delete the file would stay"
    )  # fmt: skip
    assert "read" not in found  # there is nothing to read
    assert files(options) == []


def test_a_file_that_cannot_be_deleted_is_named(
    service: tuple[str, BucketServer], proxy: HttpProxy
) -> None:
    """As in a bucket that keeps what it has for some time."""
    scheme, server = service
    options = through(server, f"{scheme}://{server.create_bucket()}/lake", proxy)
    deletes = iter([None, refusal(scheme)])
    proxy.refuse = lambda asked: next(deletes) if is_delete(asked) else None
    state, detail = look(options)["delete"]
    assert state == "wrong"
    (left,) = files(options)
    assert f"; delete {options['uri']}/{left} by hand" in detail


CONDITIONS = {"s3": "s3", "gcs": "gs"}  # Azure's signature covers the condition


@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_that_are_not_honoured(request: pytest.FixtureRequest, name: str) -> None:
    server: BucketServer = request.getfixturevalue(name)

    def forget(asked: Request) -> Request:
        headers = {name: value for name, value in asked.headers.items() if name != "if-none-match"}
        return Request(asked.method, asked.path.replace("&ifGenerationMatch=0", ""), headers)

    with http_proxy(server.port) as proxy:
        proxy.alter = forget
        options = through(server, f"{CONDITIONS[name]}://{server.create_bucket()}/lake", proxy)
        state, detail = look(options)["conditions"]
        assert state == "note"
        assert detail.startswith("conditional writes are not honoured. Lakebed does not need")
        assert files(options) == []


def test_conditions_that_are_refused(s3: S3Server) -> None:
    """Some services that speak S3 answer so."""
    body = b"<Error><Code>NotImplemented</Code><Message>A header is not.</Message></Error>"
    with http_proxy(s3.port) as proxy:
        proxy.refuse = lambda asked: Answer(501, body) if "if-none-match" in asked.headers else None
        found = look(through(s3, f"s3://{s3.create_bucket()}/lake", proxy))
        assert found["conditions"][0] == "note"
        assert "NotImplemented A header is not.. Lakebed does not need" in found["conditions"][1]
        assert found["delete"][0] == "ok"


# Rights that are really checked: by moto's IAM, and by Azurite for a SAS token.

S3_RIGHTS = {"list": "s3:ListBucket", "write": "s3:PutObject", "read": "s3:GetObject"}


@pytest.mark.parametrize("lacking", S3_RIGHTS)
def test_rights_on_s3(guarded_s3: GuardedS3, lacking: str) -> None:
    bucket = guarded_s3.create_bucket()
    granted = [action for right, action in S3_RIGHTS.items() if right != lacking]
    user = guarded_s3.user(*granted, "s3:DeleteObject")
    found = look(guarded_s3.storage(f"s3://{bucket}/lake") | user)
    lacks = {check for check, state in states(found).items() if state == "wrong"}
    assert lacks == {lacking}
    assert f"no right to it in the bucket '{bucket}'" in found[lacking][1]
    assert user["secret"] not in str(found)
    assert guarded_s3.keys(bucket) == []


def test_a_reader_on_s3(guarded_s3: GuardedS3) -> None:
    """Who may only list and read is told that reading works, by a file that is there."""
    bucket = guarded_s3.create_bucket()
    where = guarded_s3.storage(f"s3://{bucket}/lake")
    options = where | guarded_s3.user("s3:*")
    store = open_store(str(options.pop("uri")), options)
    store.write("objects/ab/abcd-1.json", b"1")
    store.close()
    found = look(where | guarded_s3.user("s3:ListBucket", "s3:GetObject"))
    assert {right: states(found)[right] for right in RIGHTS} == {
        "list": "ok", "write": "note", "read": "ok", "delete": "wrong"
    }  # fmt: skip


def test_keys_that_are_wrong_on_s3(guarded_s3: GuardedS3) -> None:
    where = guarded_s3.storage(f"s3://{guarded_s3.create_bucket()}/lake")
    user = guarded_s3.user("s3:*")
    for keys, words in (
        ({"key": "AKIAIOSFODNN7EXAMPLE", "secret": "wrong-s3cret"}, "the access key is not known"),
        (user | {"secret": "wrong-s3cret"}, "the secret key is wrong"),
    ):
        with pytest.raises(ConnectError, match=words) as caught:
            look(where | keys)
        assert caught.value.error_type == "auth_failed"
        assert "s3cret" not in str(caught.value)


def test_another_region_on_s3(guarded_s3: GuardedS3) -> None:
    """The service says which: moto does, and lets one in all the same, as Amazon's client does by
    asking again."""
    bucket = guarded_s3.create_bucket("eu-west-1")
    where = guarded_s3.storage(f"s3://{bucket}/lake") | guarded_s3.user("s3:*")
    assert look(where)["region"] == (
        "note",
        "the bucket is in eu-west-1, requests are made for us-east-1: set `region: eu-west-1`",
    )
    assert look(where | {"region": "eu-west-1"})["region"] == ("ok", "eu-west-1")


AZURE_RIGHTS = {"list": "rwd", "write": "rdl", "read": "wdl", "delete": "rwl"}


@pytest.mark.parametrize("lacking", AZURE_RIGHTS)
def test_rights_on_azure(azure: AzureServer, lacking: str) -> None:
    container = azure.create_bucket()
    options = {"uri": f"az://{container}/lake", **azure.limited(container, AZURE_RIGHTS[lacking])}
    found = look(options)
    lacks = {check for check, state in states(found).items() if state == "wrong"}
    assert lacks == {lacking}
    assert "no right to it" in found[lacking][1]
    assert "sig=" not in str(found)
    assert files(azure.storage(options["uri"])) == []


def test_a_token_that_has_expired_on_azure(azure: AzureServer) -> None:
    container = azure.create_bucket()
    options = {"uri": f"az://{container}/lake", **azure.limited(container, "rwdl", hours=-1)}
    with pytest.raises(ConnectError, match="wrong or has expired") as caught:
        look(options)
    assert caught.value.error_type == "auth_failed"


# Other storages.


def test_a_folder(tmp_path: Path) -> None:
    """No folder is made: an empty one stays empty, and can become a lake."""
    found = look({"uri": str(tmp_path)})
    assert list(found) == ["storage", "list", "write", "read", "delete"]
    assert {c: f for c, f in found.items() if f[0] != "ok"} == {}
    assert list(tmp_path.iterdir()) == []
    LocalStore(tmp_path).write("objects/ab/abcd-1.json", b"1")
    before = sorted(tmp_path.rglob("*"))
    assert set(states(look({"uri": tmp_path.as_uri()})).values()) == {"ok"}
    assert sorted(tmp_path.rglob("*")) == before


def test_memory() -> None:
    assert list(look({"uri": "memory://examined/lake"})) == ["storage", *RIGHTS]


def test_a_folder_that_one_may_not_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may, so that the refusal is the test's own."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("builtins.open", refuse)
    found = look({"uri": str(tmp_path)})
    monkeypatch.undo()
    assert found["write"][0] == "wrong"
    assert "the file system is read-only" in found["write"][1]


def test_a_killed_examination_is_cleaned_up(gcs: GCSServer) -> None:
    """What lies under `objects/` is found by `collect`; nothing else is written."""
    options = gcs.storage(f"gs://{gcs.create_bucket()}/lake")
    uri = str(options.pop("uri"))
    looks = examine(uri, options, uri)
    assert next(looks).check == "storage"
    looks.close()
    assert files({"uri": uri, **options}) == []
