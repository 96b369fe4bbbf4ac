"""Objects on Azure Blob Storage through adlfs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from fsspec.asyn import sync

from lakebed.clock import to_micros
from lakebed.errors import ConfigurationError, LakebedError, StorageError
from lakebed.objects.buckets.cloud import About, CloudStore
from lakebed.objects.buckets.connection import CONNECT_SECONDS, SILENCE_SECONDS, word
from lakebed.objects.buckets.failures import Failure, retry_after
from lakebed.objects.buckets.source import Source
from lakebed.objects.store import StoredFile

_BLOCKS_AT_ONCE = 4
_ACCOUNT = re.compile(r"\w+://[^/@]+@([^/.]+)\.(?:blob|dfs)\.core\.windows\.net(?:/|$)")
# The options of azure.identity's DefaultAzureCredential: adlfs passes on options it does not know.
_DEFAULT_CREDENTIAL = (
    "additionally_allowed_tenants",
    "authority",
    "developer_credential_timeout",
    *(
        f"exclude_{source}_credential"
        for source in (
            "broker", "cli", "developer_cli", "environment", "interactive_browser",
            "managed_identity", "powershell", "shared_token_cache", "visual_studio_code",
            "workload_identity",
        )
    ),
    "interactive_browser_client_id",
    "interactive_browser_tenant_id",
    "managed_identity_client_id",
    "process_timeout",
    "require_envvar",
    "shared_cache_tenant_id",
    "shared_cache_username",
    "visual_studio_code_tenant_id",
    "workload_identity_client_id",
    "workload_identity_tenant_id",
)  # fmt: skip


class AzureStore(CloudStore):
    """Objects on Azure. In addition to the options of adlfs it takes `encryption_scope`, the name
    of an encryption scope in the account."""

    PACKAGE = "azure"
    MODULE = "adlfs"
    USUAL = frozenset({"account_key", "account_name", "connection_string", "sas_token"})
    OPTIONS = frozenset({"encryption_scope", *_DEFAULT_CREDENTIAL})

    def _settings(self, options: dict[str, Any]) -> dict[str, Any]:
        scope = word(options, "encryption_scope")
        self._scope = {} if scope is None else {"encryption_scope": scope}
        if (named := _ACCOUNT.match(self._uri)) and "connection_string" not in options:
            options.setdefault("account_name", named[1])
        return {"connection_timeout": CONNECT_SECONDS, "read_timeout": SILENCE_SECONDS, **options}

    def _prepare(self) -> None:
        # We do the retries: the client's own start only after 15 seconds.
        self._fs.service_client._config.retry_policy.total_retries = 0

    async def _put(self, action: str, key: str, source: Source) -> None:
        async def put() -> None:
            # The service refuses a blob or a block that does not match the MD5 sent with it.
            answer: Mapping[str, Any] = await self._fs._pipe_file(
                f"{self._bucket}/{key}",
                source.file(),
                max_concurrency=_BLOCKS_AT_ONCE,
                validate_content=True,
                length=source.size,
                **self._scope,
            )
            self._verify_scope(key, answer)
            if answer.get("content_md5") != bytearray(source.md5()):  # absent if sent in blocks
                found = await self._head(key)
                if found != source.size:
                    raise StorageError(f"{key} has {found} bytes after an upload of {source.size}")

        await self._request(action, put)

    def _verify_scope(self, key: str, answer: Mapping[str, Any]) -> None:
        scope = self._scope.get("encryption_scope")
        if scope is not None and answer.get("encryption_scope") != scope:
            raise StorageError(
                f"{key} should be encrypted in the scope {scope!r}, but the service used "
                f"{answer.get('encryption_scope') or 'none'}"
            )

    async def _put_new(self, key: str, data: bytes) -> None:
        blob = self._fs.service_client.get_blob_client(self._bucket, key)
        await blob.upload_blob(data, overwrite=False, **self._scope)

    async def _get(self, key: str, start: int, end: int) -> bytes:
        from azure.core.exceptions import HttpResponseError

        try:
            data: bytes = await self._fs._cat_file(f"{self._bucket}/{key}", start=start, end=end)
        except HttpResponseError as error:
            if error.status_code == 416:  # the range starts after the end
                return b""
            raise
        return data

    async def _head(self, key: str) -> int:
        blob = self._fs.service_client.get_blob_client(self._bucket, key)
        return int((await blob.get_blob_properties()).size)

    async def _remove(self, action: str, keys: Sequence[str]) -> None:
        container = self._fs.service_client.get_container_client(self._bucket)

        async def remove(key: str) -> None:
            with suppress(FileNotFoundError):
                await self._request(action, container.delete_blob, key)

        await asyncio.gather(*map(remove, keys))

    async def _page(self, prefix: str, token: str | None) -> tuple[list[StoredFile], str | None]:
        container = self._fs.service_client.get_container_client(self._bucket)
        pages = container.list_blobs(name_starts_with=prefix).by_page(token)
        files = [
            StoredFile(blob.name, int(blob.size), to_micros(blob.last_modified))
            async for blob in await anext(pages)
        ]
        return files, pages.continuation_token or None

    async def _about(self) -> About:
        from azure.core.exceptions import HttpResponseError

        dates: list[str | None] = []
        container = self._fs.service_client.get_container_client(self._bucket)
        try:
            await container.get_container_properties(
                raw_response_hook=lambda answer: dates.append(
                    answer.http_response.headers.get("Date")
                )
            )
        except HttpResponseError as error:
            if error.status_code != 403:
                raise
        return About(dates[-1] if dates else None)

    async def _sign(self, key: str, seconds: int) -> str:
        return await self._sign_for(key, seconds, "r")

    async def _sign_for(self, key: str, seconds: int, rights: str) -> str:
        """Return a URL with these rights, by the letters of a SAS token."""
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        client = self._fs.service_client
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        credential = client.credential
        if hasattr(credential, "account_key"):
            signing = {"account_key": credential.account_key}
        elif hasattr(credential, "get_token"):
            begin = datetime.now(UTC) - timedelta(minutes=5)  # clocks differ
            delegated = await client.get_user_delegation_key(begin, until)
            signing = {"user_delegation_key": delegated}
        else:
            raise ConfigurationError(
                "presign: a storage that was opened with a SAS token cannot sign: use the account "
                "key or an identity"
            )
        token = generate_blob_sas(
            client.account_name,
            self._bucket,
            key,
            permission=BlobSasPermissions.from_string(rights),
            expiry=until,
            **signing,
        )
        return f"{client.get_blob_client(self._bucket, key).url}?{token}"

    def _failure(self, error: Exception) -> Failure | None:
        if isinstance(error, LakebedError):
            return None
        from azure.core import exceptions

        cause = error.__cause__ if isinstance(error.__cause__, exceptions.AzureError) else error
        if isinstance(cause, exceptions.DecodeError):  # an answer that was cut off
            return Failure(f"{type(cause).__name__}: {cause.message}", answered=False)
        if isinstance(cause, exceptions.HttpResponseError):
            told = getattr(cause, "error_code", None) or ""
            code = str(getattr(told, "value", told))  # an enumeration's, or plain text
            status = int(cause.status_code or 0)
            if not status and isinstance(cause, exceptions.ClientAuthenticationError):
                malformed = type(cause).__name__ == "AzureSigningError"
                return Failure("", "AuthenticationFailed" if malformed else "NoCredentials")
            message = str(cause.message).partition("\n")[0]
            headers = {} if cause.response is None else cause.response.headers
            words = f"{code} {message}".strip()
            return Failure(words, code, status, retry_after=retry_after(headers))
        if isinstance(cause, exceptions.AzureError):
            return Failure(f"{type(cause).__name__}: {cause.message}", answered=False)
        if isinstance(error, OSError) or type(error).__module__.startswith(("aiohttp", "asyncio")):
            return Failure(f"{type(error).__name__}: {error}", answered=False)
        return None

    def _disconnect(self) -> None:
        sync(self._fs.loop, self._fs.service_client.close)
