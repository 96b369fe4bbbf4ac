"""Objects on Google Cloud Storage through gcsfs."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from fsspec.asyn import AsyncFileSystem, sync

from lakebed.clock import to_micros
from lakebed.errors import ConfigurationError, LakebedError, StorageError
from lakebed.objects.buckets.cloud import About, CloudStore
from lakebed.objects.buckets.connection import CONNECT_SECONDS, SILENCE_SECONDS, word
from lakebed.objects.buckets.failures import Failure
from lakebed.objects.buckets.source import WHOLE_BYTES, Source
from lakebed.objects.store import StoredFile

PART_BYTES = 16 << 20
"""The size of the parts in which a file larger than WHOLE_BYTES is uploaded. A resumable upload
needs them in order, so they are sent one after another."""

_TYPE = "application/octet-stream"
_REMEMBERED = 60.0  # seconds for which a bucket that was found is not looked up again


class GCSStore(CloudStore):
    """Objects on Google Cloud Storage. In addition to the options of gcsfs it takes `kms_key_id`,
    the resource name of a Cloud KMS key."""

    PACKAGE = "gcs"
    MODULE = "gcsfs"
    USUAL = frozenset({"endpoint_url", "project", "token"})
    OPTIONS = frozenset({"kms_key_id"})

    _seen = float("-inf")  # when the bucket was last found

    @classmethod
    def _filesystem(cls, protocol: str) -> type[AsyncFileSystem]:
        del protocol
        # Not the experimental class for zonal buckets, which asks for each bucket's kind over gRPC.
        from gcsfs.core import GCSFileSystem

        found: type[AsyncFileSystem] = GCSFileSystem
        return found

    def _settings(self, options: dict[str, Any]) -> dict[str, Any]:
        _check_token(options.get("token"))
        self._kms = {"kmsKeyName": key} if (key := word(options, "kms_key_id")) else {}
        return options

    def _prepare(self) -> None:
        import aiohttp

        # Use its requests without its retries: we do the retries.
        self._fs._request = partial(type(self._fs)._request.__wrapped__, self._fs)
        self._fs.session_kwargs = {
            "timeout": aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
            ),
            **self._fs.session_kwargs,
        }

    async def _put(self, action: str, key: str, source: Source) -> None:
        if source.size > WHOLE_BYTES:
            answer = await self._put_parts(action, key, source)
        else:
            answer = await self._request(action, self._put_whole, key, source.whole())
        self._verify(key, source, answer)

    async def _put_new(self, key: str, data: bytes) -> None:
        # In the tests' emulator, only this kind of upload obeys conditions.
        await self._put_described({"name": key}, _TYPE, data, {"ifGenerationMatch": "0"})

    async def _put_described(
        self,
        resource: Mapping[str, object],
        content_type: str,
        data: bytes,
        conditions: Mapping[str, str],
    ) -> Mapping[str, Any]:
        """Upload an object in one request that holds its description and its data. The boundary
        between them is random, so that the data cannot contain it."""
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps(resource)}\r\n--{boundary}\r\nContent-Type: {content_type}\r\n\r\n"
        )
        answer: Mapping[str, Any] = await self._fs._call(
            "POST",
            f"{self._fs._location}/upload/storage/v1/b/{{}}/o",
            self._bucket,
            uploadType="multipart",
            headers={"Content-Type": f'multipart/related; boundary="{boundary}"'},
            data=b"".join([head.encode(), data, f"\r\n--{boundary}--".encode()]),
            json_out=True,
            **conditions,
            **self._kms,
        )
        return answer

    async def _put_whole(self, key: str, data: bytes) -> Mapping[str, Any]:
        # Not with gcsfs' own simple upload: its fixed boundary may occur in the data.
        answer: Mapping[str, Any] = await self._fs._call(
            "POST",
            f"{self._fs._location}/upload/storage/v1/b/{{}}/o",
            self._bucket,
            uploadType="media",
            name=key,
            headers={"Content-Type": _TYPE},
            data=data,
            json_out=True,
            **self._kms,
        )
        return answer

    async def _put_parts(self, action: str, key: str, source: Source) -> Mapping[str, Any]:
        from gcsfs.core import initiate_upload, upload_chunk

        begin = partial(
            initiate_upload, self._fs, self._bucket, key, _TYPE,
            kms_key_name=self._kms.get("kmsKeyName"),
        )  # fmt: skip
        place = await self._request(action, begin)
        answer: Mapping[str, Any] = {}
        try:
            for offset in range(0, source.size, PART_BYTES):
                data = source.part(offset, PART_BYTES)
                send = partial(upload_chunk, self._fs, place, data, offset, source.size, _TYPE)
                answer = await self._request(action, send)
        except BaseException:
            with suppress(Exception):  # otherwise the service removes it after a week
                await self._request(action, self._fs._call, "DELETE", place)
            raise
        return answer

    def _verify(self, key: str, source: Source, answer: Mapping[str, Any]) -> None:
        found = (int(answer["size"]), answer.get("md5Hash"))
        wanted = (source.size, base64.b64encode(source.md5()).decode())
        if found != wanted:
            raise StorageError(
                f"{key} differs after the upload: {wanted[0]} bytes were sent, {found[0]} stored"
            )
        self._verify_key(key, answer)

    def _verify_key(self, key: str, answer: Mapping[str, Any]) -> None:
        key_name = self._kms.get("kmsKeyName")
        used = str(answer.get("kmsKeyName", "none"))  # ends with the key's version
        if key_name is not None and f"{used}/".partition(f"{key_name}/")[0]:
            raise StorageError(
                f"{key} should be encrypted with the key {key_name!r}, but the service used {used}"
            )

    async def _get(self, key: str, start: int, end: int) -> bytes:
        from gcsfs.retry import HttpError

        try:
            data: bytes = await self._fs._cat_file_sequential(
                f"{self._bucket}/{key}", start=start, end=end
            )
        except HttpError as error:
            if error.code == 416:  # the range starts after the end
                return b""
            raise
        return data

    async def _head(self, key: str) -> int:
        answer = await self._fs._call("GET", "b/{}/o/{}", self._bucket, key, json_out=True)
        return int(answer["size"])

    async def _remove(self, action: str, keys: Sequence[str]) -> None:
        async def remove(key: str) -> None:
            with suppress(FileNotFoundError):
                await self._request(
                    action, self._fs._call, "DELETE", "b/{}/o/{}", self._bucket, key
                )

        await asyncio.gather(*map(remove, keys))

    async def _page(self, prefix: str, token: str | None) -> tuple[list[StoredFile], str | None]:
        answer = await self._fs._call(
            "GET", "b/{}/o", self._bucket, prefix=prefix, pageToken=token, json_out=True
        )
        files = [
            StoredFile(
                item["name"],
                int(item["size"]),
                to_micros(datetime.fromisoformat(item["timeCreated"])),
            )
            for item in answer.get("items", ())
        ]
        return files, answer.get("nextPageToken")

    async def _sign(self, key: str, seconds: int) -> str:
        return await self._sign_for(key, seconds, "GET")

    async def _sign_for(self, key: str, seconds: int, method: str) -> str:
        from google.auth.credentials import Signing

        if not isinstance(self._fs.credentials.credentials, Signing):
            raise ConfigurationError(
                "presign: these credentials cannot sign: give the key of a service account as token"
            )
        sign = partial(self._fs.sign, version="v4", method=method)
        url: str = await asyncio.to_thread(sign, f"{self._bucket}/{key}", seconds)
        return url

    async def _about(self) -> About:
        # The first path needs a right that writers seldom have, storage.buckets.get.
        for path, more in (("b/{}", {}), ("b/{}/o", {"maxResults": "1"})):
            try:
                headers, content = await self._fs._call("GET", path, self._bucket, **more)
            except OSError as error:
                if not _is_forbidden(error):
                    raise
            else:
                return About(headers.get("Date"), json.loads(content).get("location"))
        return About(None)

    async def _is_there(self) -> bool:
        if time.monotonic() - self._seen < _REMEMBERED:
            return True
        try:
            await self._fs._call("GET", "b/{}", self._bucket)
        except FileNotFoundError:
            return False
        except OSError:  # no right to see the bucket itself
            pass
        self._seen = time.monotonic()
        return True

    def _failure(self, error: Exception) -> Failure | None:
        if isinstance(error, LakebedError):
            return None
        import google.auth.exceptions as google
        import requests
        from gcsfs.retry import ChecksumError, HttpError

        if isinstance(error, HttpError):
            return Failure(str(error.message), status=int(error.code or 0))
        if isinstance(error, FileNotFoundError):
            return Failure("", status=404)  # gcsfs gives only its own path
        if isinstance(error, (google.RefreshError, google.DefaultCredentialsError)):
            return Failure(
                str(error), "NoCredentials" if "default" in str(error) else "ExpiredToken"
            )
        if isinstance(error, FileExistsError):
            return Failure(str(error), status=412)
        if _is_forbidden(error):
            return Failure(str(error).partition("\n")[2], status=403)
        bad_gateway = isinstance(error, requests.exceptions.ProxyError) and not error.args
        if bad_gateway or isinstance(error, ChecksumError):  # gcsfs raises the first for a 502
            return Failure(type(error).__name__, status=502)
        if isinstance(error, (OSError, google.TransportError)) or type(error).__module__.startswith(
            ("aiohttp", "asyncio")
        ):
            return Failure(f"{type(error).__name__}: {error}", answered=False)
        if isinstance(error, (ValueError, RuntimeError)):
            return Failure(str(error))
        return None

    def _disconnect(self) -> None:
        if self._fs._session is not None:
            sync(self._fs.loop, self._fs._session.close)


def _is_forbidden(error: Exception) -> bool:
    """Return whether an error is what gcsfs raises for a 403."""
    return isinstance(error, OSError) and str(error).startswith("Forbidden")


def _check_token(token: object) -> None:
    """Check credentials for which gcsfs gives a misleading error: it takes the name of a missing
    file for an access token, and a malformed key for an older format."""
    if isinstance(token, str) and token.endswith(".json") and not Path(token).exists():
        raise ConfigurationError("storage.token: the file does not exist")
    if isinstance(token, str) and Path(token).is_file():
        try:
            token = json.loads(Path(token).read_text("utf-8"))
        except (OSError, ValueError):
            raise ConfigurationError("storage.token: the file cannot be read as JSON") from None
    if not isinstance(token, dict):
        return
    if token.get("type") == "service_account":
        from google.oauth2.service_account import Credentials

        try:
            Credentials.from_service_account_info(token)
        except ValueError as error:
            raise ConfigurationError(f"storage.token: {str(error).partition('(')[0]}") from None
    elif missing := {"client_id", "client_secret", "refresh_token"} - token.keys():
        raise ConfigurationError(
            "storage.token: expected the key of a service account, or a user's credentials: "
            f"{min(missing)} is missing"
        )
