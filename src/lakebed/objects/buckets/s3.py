"""Objects on S3 and compatible services, through s3fs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from fsspec.asyn import sync

from lakebed.clock import to_micros
from lakebed.errors import ConfigurationError, LakebedError, StorageError
from lakebed.objects.buckets.cloud import About, CloudStore
from lakebed.objects.buckets.connection import CONNECT_SECONDS, SILENCE_SECONDS, word
from lakebed.objects.buckets.failures import Failure, retry_after
from lakebed.objects.buckets.source import WHOLE_BYTES, Source
from lakebed.objects.store import StoredFile

PART_BYTES = 16 << 20
"""The size of the parts in which a file larger than WHOLE_BYTES is uploaded."""

_MAX_PARTS = 10_000
_PARTS_AT_ONCE = 4
_DELETED_AT_ONCE = 1000  # the limit of DeleteObjects
_CHECKSUMS = ("x-amz-checksum-", "x-amz-sdk-checksum-")  # how the names of these headers begin
_ENCRYPTION = {"sse-s3": "AES256", "sse-kms": "aws:kms"}


class S3Store(CloudStore):
    """Objects on S3. In addition to the options of s3fs it takes `region`, `addressing_style`
    (`path`, `virtual`), `checksums` (`when_supported`, `when_required`), `signature_version`,
    `encryption` (`sse-s3`, `sse-kms`), in any case, and `kms_key_id`. The endpoint may also come
    from S3_ENDPOINT_URL."""

    PACKAGE = "s3"
    MODULE = "s3fs"
    USUAL = frozenset(
        {"anon", "client_kwargs", "config_kwargs", "endpoint_url", "key", "secret", "token"}
    )
    CHOICES: ClassVar[Mapping[str, Sequence[str]]] = {
        "addressing_style": ("auto", "path", "virtual"),
        "checksums": ("when_supported", "when_required"),
        "encryption": tuple(_ENCRYPTION),
    }
    OPTIONS = frozenset(
        {
            "region",
            "addressing_style",
            "checksums",
            "signature_version",
            "encryption",
            "kms_key_id",
            *("profile", "event_hooks", "include_builtin_handlers", "session_vars"),  # botocore's
        }
    )

    def _settings(self, options: dict[str, Any]) -> dict[str, Any]:
        client = dict(options.pop("client_kwargs", None) or {})
        config = dict(options.pop("config_kwargs", None) or {})
        if region := word(options, "region"):
            client["region_name"] = region
        if "endpoint_url" not in options and (url := os.environ.get("S3_ENDPOINT_URL")):
            options["endpoint_url"] = url
        if style := _choice(options, "addressing_style"):
            config["s3"] = {**config.get("s3", {}), "addressing_style": style}
        if version := word(options, "signature_version"):
            config["signature_version"] = version
        # For old regions, botocore would still sign URLs with version 2. That does not work for
        # objects encrypted with a KMS key, and most compatible services do not know it.
        config.setdefault("signature_version", "s3v4")
        if checksums := _choice(options, "checksums"):
            config["request_checksum_calculation"] = checksums
            config["response_checksum_validation"] = checksums
        config.setdefault("connect_timeout", CONNECT_SECONDS)
        config.setdefault("read_timeout", SILENCE_SECONDS)
        config["max_pool_connections"] = self._connections
        config["retries"] = {"total_max_attempts": 1}  # we do the retries
        self._newer_checksums = checksums != "when_required"
        self._encryption = _encryption(options)
        return {**options, "client_kwargs": client, "config_kwargs": config}

    def _prepare(self) -> None:
        self._fs.retries = 1  # we do the retries

    async def _put(self, action: str, key: str, source: Source) -> None:
        if source.size > WHOLE_BYTES:
            await self._put_parts(action, key, source)
            return
        data = source.whole()

        async def put() -> None:
            md5 = base64.b64encode(source.md5()).decode()
            answer = await self._call(
                "put_object", Key=key, Body=data, ContentMD5=md5, **self._encryption
            )
            self._verify_encryption(key, answer)
            if not _proven(data, source.md5(), answer):
                await self._verify_size(key, len(data))

        await self._request(action, put)

    async def _put_new(self, key: str, data: bytes) -> None:
        await self._call(
            "put_object",
            Key=key, Body=data, ContentMD5=md5_header(data), IfNoneMatch="*", **self._encryption,
        )  # fmt: skip

    async def _verify_size(self, key: str, size: int) -> None:
        found = await self._head(key)
        if found != size:
            raise StorageError(f"{key} has {found} bytes after an upload of {size}")

    def _verify_encryption(self, key: str, answer: Mapping[str, Any]) -> None:
        wanted = self._encryption.get("ServerSideEncryption")
        found = answer.get("ServerSideEncryption")
        if wanted is not None and found != wanted:
            raise StorageError(
                f"{key} should be encrypted with {wanted}, but the service used "
                f"{found or 'nothing'}"
            )

    async def _put_parts(self, action: str, key: str, source: Source) -> None:
        begun = await self._request(
            action, self._call_with, "create_multipart_upload", {"Key": key, **self._encryption}
        )
        upload = {"Key": key, "UploadId": begun["UploadId"]}
        size = max(PART_BYTES, -(-source.size // _MAX_PARTS))
        gate = asyncio.Semaphore(_PARTS_AT_ONCE)

        async def put(number: int) -> dict[str, Any]:
            async with gate:
                data = source.part(number * size, size)
                # In a thread, because the event loop that all threads share must not wait.
                md5 = await asyncio.to_thread(md5_header, data)
                part = {**upload, "PartNumber": number + 1, "Body": data, "ContentMD5": md5}
                answer = await self._request(action, self._call_with, "upload_part", part)
                return {"PartNumber": number + 1, "ETag": answer["ETag"]}

        tasks = [asyncio.ensure_future(put(n)) for n in range(-(-source.size // size))]
        try:
            parts = await asyncio.gather(*tasks)
            whole = {**upload, "MultipartUpload": {"Parts": parts}}
            with suppress(FileNotFoundError):  # done, but the answer was lost: checked by its size
                answer = await self._request(
                    action, self._call_with, "complete_multipart_upload", whole
                )
                self._verify_encryption(key, answer)
            await self._request(action, self._verify_size, key, source.size)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(Exception):  # otherwise `abandon_uploads` finds it
                await self._request(action, self._call_with, "abort_multipart_upload", upload)
            raise

    async def _get(self, key: str, start: int, end: int) -> bytes:
        try:
            data: bytes = await self._fs._cat_file(f"{self._bucket}/{key}", start=start, end=end)
        except OSError as error:
            if _status(error) == 416:  # the range starts after the end
                return b""
            raise
        return data

    async def _head(self, key: str) -> int:
        return int((await self._call("head_object", Key=key))["ContentLength"])

    async def _remove(self, action: str, keys: Sequence[str]) -> None:
        async def remove(some: Sequence[str]) -> None:
            names = {"Objects": [{"Key": key} for key in some], "Quiet": True}
            answer = await self._call("delete_objects", Delete=names)
            for error in answer.get("Errors", ()):
                if error.get("Code") != "NoSuchKey":
                    raise _Refused(Failure(str(error.get("Message")), str(error.get("Code"))))

        await asyncio.gather(
            *(
                self._request(action, remove, keys[first : first + _DELETED_AT_ONCE])
                for first in range(0, len(keys), _DELETED_AT_ONCE)
            )
        )

    async def _page(self, prefix: str, token: str | None) -> tuple[list[StoredFile], str | None]:
        where = {} if token is None else {"ContinuationToken": token}
        answer = await self._call("list_objects_v2", Prefix=prefix, **where)
        files = [
            StoredFile(item["Key"], int(item["Size"]), to_micros(item["LastModified"]))
            for item in answer.get("Contents", ())
        ]
        return files, answer.get("NextContinuationToken")

    async def _sign(self, key: str, seconds: int) -> str:
        if self._fs.anon:
            raise ConfigurationError("presign: an anonymous storage cannot sign")
        url: str = await self._fs._url(f"{self._bucket}/{key}", expires=seconds)
        return url

    async def _about(self) -> About:
        try:
            answer = await self._call("head_bucket")
        except OSError as error:
            if _status(error) not in (301, 400, 403):
                raise
            answer = _response(error)  # a refusal has the same headers
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        asked = self._fs._s3.meta.region_name
        return About(
            headers.get("date"),
            headers.get("x-amz-bucket-region"),
            "us-east-1" if asked == "aws-global" else asked,  # botocore's name for no region
        )

    def abandon_uploads(self, before: int) -> int:
        action = f"list the unfinished uploads of {self._uri}"

        async def abandon() -> int:
            answer = await self._request(
                action, self._call_with, "list_multipart_uploads", {"Prefix": self._key("")}
            )
            old = [
                {"Key": item["Key"], "UploadId": item["UploadId"]}
                for item in answer.get("Uploads", ())
                if to_micros(item["Initiated"]) < before
            ]
            for upload in old:
                with suppress(FileNotFoundError):
                    await self._request(action, self._call_with, "abort_multipart_upload", upload)
            return len(old)

        return self._run(action, abandon)

    async def _call(self, method: str, **arguments: object) -> Mapping[str, Any]:
        try:
            client = await self._fs.set_session()  # returns the existing client, if there is one
        except TypeError as error:
            raise ConfigurationError(f"storage: unknown option of S3's client: {error}") from None
        except ValueError as error:  # its text may contain an address with a password
            if type(error).__name__ == "InvalidRegionError":
                raise ConfigurationError(f"storage.region: {error}") from None
            raise ConfigurationError(
                "storage: S3's client refuses the value of an option, such as an endpoint_url "
                "that is not a URL"
            ) from None
        if not self._newer_checksums:
            client.meta.events.register(
                "before-sign.s3.DeleteObjects", _with_md5, unique_id="lakebed-md5"
            )
        answer: Mapping[str, Any] = await self._fs._call_s3(
            method, Bucket=self._bucket, **arguments
        )
        return answer

    async def _call_with(self, method: str, arguments: Mapping[str, object]) -> Mapping[str, Any]:
        return await self._call(method, **arguments)

    def _failure(self, error: Exception) -> Failure | None:
        if isinstance(error, _Refused):
            return error.failure
        if isinstance(error, LakebedError):
            return None
        from botocore import exceptions
        from botocore.parsers import ResponseParserError

        cause = error.__cause__ if isinstance(error.__cause__, exceptions.ClientError) else error
        if isinstance(cause, exceptions.ClientError):
            told = cause.response.get("Error", {})
            return Failure(
                f"{told.get('Code', '')} {told.get('Message', '')}".strip(),
                str(told.get("Code", "")),
                _status(error),
                region=str(told.get("Region") or _headers(error).get("x-amz-bucket-region", "")),
                retry_after=retry_after(_headers(error)),
            )
        if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
            return Failure(str(error), "NoCredentials")
        if isinstance(
            error,
            (
                exceptions.ConnectionError,
                exceptions.HTTPClientError,
                exceptions.IncompleteReadError,
                ResponseParserError,
                OSError,
            ),
        ) or type(error).__module__.startswith(("aiohttp", "asyncio")):
            return Failure(f"{type(error).__name__}: {error}", answered=False)
        if isinstance(error, (exceptions.BotoCoreError, ValueError)):
            return Failure(str(error))
        return None

    def _disconnect(self) -> None:
        client = getattr(self._fs, "_s3creator", None)
        if client is not None:
            sync(self._fs.loop, client.__aexit__, None, None, None)


class _Refused(Exception):
    """One object of a request for many was refused."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _response(error: BaseException) -> Mapping[str, Any]:
    """Return the response in botocore's error, or an empty mapping if there is none."""
    return getattr(error.__cause__ or error, "response", None) or {}


def _status(error: BaseException) -> int:
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _headers(error: BaseException) -> Mapping[str, str]:
    found: Mapping[str, str] = _response(error).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return found


def md5_header(data: bytes) -> str:
    """Return the header Content-MD5. The service refuses bytes that do not match it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _with_md5(request: Any, **_: object) -> None:
    """Replace the checksum of a deletion by the MD5. The service requires a checksum, and may not
    know the newer ones that botocore adds."""
    for name in [name for name in request.headers if name.lower().startswith(_CHECKSUMS)]:
        del request.headers[name]
    request.headers["Content-MD5"] = md5_header(request.data)


def _proven(data: bytes, md5: bytes, answer: Mapping[str, Any]) -> bool:
    """Return whether the answer to an upload proves that the bytes arrived. An ETag that is not the
    MD5 proves nothing: with KMS, and on some services, it is something else."""
    if told := answer.get("ChecksumCRC32"):
        return bool(told == base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode())
    tag = str(answer.get("ETag", "")).strip('"')
    return tag == md5.hex()


def _choice(options: dict[str, Any], name: str) -> str | None:
    value = options.pop(name, None)  # it is one of CHOICES
    return None if value is None else str(value).lower()


def _encryption(options: dict[str, Any]) -> dict[str, str]:
    """Return the arguments of an upload that make the service encrypt it."""
    how = _choice(options, "encryption")
    key = word(options, "kms_key_id")
    if key is not None and how != "sse-kms":
        raise ConfigurationError("storage.kms_key_id requires encryption: sse-kms")
    arguments = {} if how is None else {"ServerSideEncryption": _ENCRYPTION[how]}
    return arguments if key is None else {**arguments, "SSEKMSKeyId": key}
