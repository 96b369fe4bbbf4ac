"""Files on Azure Blob Storage."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from lakebed.clock import system_clock, to_micros
from lakebed.errors import ConflictError, LakebedError, StorageError
from lakebed.objects.buckets.azure import AzureStore
from lakebed.objects.files.cloud import CloudFiles
from lakebed.objects.files.names import IDENTIFIERS
from lakebed.objects.files.store import Condition, FileRow, Headers, Method, Signed

_BLOCKS_AT_ONCE = 4
_COPY_POLL = 0.2  # seconds


class AzureFiles(CloudFiles, AzureStore):
    """Files on Azure. The options are those of `AzureStore`."""

    NAMES = IDENTIFIERS

    def _blob(self, key: str) -> Any:
        return self._fs.service_client.get_blob_client(self._bucket, key)

    async def _put_file(
        self, key: str, data: bytes, headers: Headers, condition: Condition
    ) -> FileRow:
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        answer = await self._blob(key).upload_blob(
            data,
            overwrite=not condition.if_absent,
            validate_content=True,  # the service refuses other bytes
            max_concurrency=_BLOCKS_AT_ONCE,
            content_settings=_settings(headers, md5),
            metadata=dict(headers.metadata),
            **_conditions(condition),
            **self._scope,
        )
        self._verify_scope(key, answer)
        return _written(key, len(data), headers, answer)

    def begin(
        self, path: str, size: int | None, part_size: int, headers: Headers, condition: Condition
    ) -> AzureUpload:
        del size, part_size
        self._look_before(path, condition)
        token, marked = self._marked(headers, always=condition.given)
        return AzureUpload(self, path, marked, condition, token)

    async def _stat(self, key: str) -> FileRow:
        return _row(await self._blob(key).get_blob_properties())

    async def _range(self, key: str, start: int, end: int, etag: str) -> bytes:
        from azure.core import MatchConditions

        stream = await self._blob(key).download_blob(
            offset=start,
            length=end - start,
            etag=f'"{etag}"',
            match_condition=MatchConditions.IfNotModified,
        )
        data: bytes = await stream.readall()
        return data

    async def _remove_each(self, action: str, keys: Sequence[str]) -> dict[str, LakebedError]:
        del action
        container = self._fs.service_client.get_container_client(self._bucket)
        return await self._remove_all(keys, container.delete_blob)

    async def _files_page(
        self, prefix: str, delimiter: str | None, after: str, limit: int, token: str | None
    ) -> tuple[list[FileRow | str], str | None]:
        del after  # the service always lists from the beginning
        container = self._fs.service_client.get_container_client(self._bucket)
        options = {"name_starts_with": prefix, "results_per_page": 1000}
        del limit
        if delimiter:
            found = container.walk_blobs(delimiter=delimiter, **options)
        else:
            found = container.list_blobs(**options)
        pages = found.by_page(token)
        items: list[FileRow | str] = [
            _row(item) if hasattr(item, "size") else item.name async for item in await anext(pages)
        ]
        items.sort(key=lambda item: (item if isinstance(item, str) else item.path).encode())
        return items, pages.continuation_token or None

    async def _copy_file(self, action: str, row: FileRow, source: str, target: str) -> None:
        from azure.core import MatchConditions

        blob = self._blob(target)
        more = {**self._scope, "requires_sync": True} if self._scope else {}

        async def start() -> None:
            await blob.start_copy_from_url(
                self._blob(source).url,
                source_etag=f'"{row.etag}"',
                source_match_condition=MatchConditions.IfNotModified,
                **more,
            )

        await self._request(action, start)
        while (copy := (await self._request(action, blob.get_blob_properties)).copy).status == (
            "pending"
        ):
            await asyncio.sleep(_COPY_POLL)
        if copy.status not in (None, "success"):
            raise StorageError(f"cannot {action}: {copy.status}: {copy.status_description}")

    async def _sign_file(self, key: str, seconds: int, method: Method) -> Signed:
        if method == "GET":
            return Signed(await self._sign(key, seconds))
        return Signed(await self._sign_for(key, seconds, "cw"), {"x-ms-blob-type": "BlockBlob"})


class AzureUpload:
    """An upload in blocks, of which one request makes a blob. Azure removes unused blocks after a
    week, or when the blob is written. Nobody can remove them earlier."""

    width = _BLOCKS_AT_ONCE

    def __init__(
        self, store: AzureFiles, path: str, headers: Headers, condition: Condition, token: str
    ) -> None:
        self._store, self._path, self._headers = store, path, headers
        self._condition, self._token = condition, token
        self._action = f"write {store.uri(path)}"
        self._name = secrets.token_hex(8)
        self._sizes: dict[int, int] = {}

    def _id(self, number: int) -> str:
        return base64.b64encode(f"{self._name}-{number:05}".encode()).decode()

    def send(self, number: int, data: bytes) -> None:
        store = self._store

        async def stage() -> None:
            await store._blob(store._key(self._path)).stage_block(
                self._id(number), data, len(data), validate_content=True, **store._scope
            )

        store._run(self._action, store._request, self._action, stage)
        self._sizes[number] = len(data)

    def complete(self) -> FileRow:
        from azure.core.exceptions import HttpResponseError
        from azure.storage.blob import BlobBlock

        store, key = self._store, self._store._key(self._path)
        blocks = [BlobBlock(self._id(number)) for number in sorted(self._sizes)]

        async def commit() -> FileRow:
            try:
                answer = await store._blob(key).commit_block_list(
                    blocks,
                    content_settings=_settings(self._headers),
                    metadata=dict(self._headers.metadata),
                    **_absent(self._condition),
                    **_conditions(self._condition),
                    **store._scope,
                )
            except HttpResponseError as error:
                if str(getattr(error.error_code, "value", error.error_code)) == "InvalidBlockList":
                    raise ConflictError(
                        f"another upload to {self._path!r} ended first and discarded this one"
                    ) from None
                raise
            store._verify_scope(key, answer)
            return _written(key, sum(self._sizes.values()), self._headers, answer)

        return store._own(
            store._run(
                self._action, store._conditional, self._action, self._path, self._condition,
                self._token, commit,
            )
        )  # fmt: skip

    def abort(self) -> None:
        """Do nothing: Azure removes the blocks."""


def _settings(headers: Headers, md5: bytes | None = None) -> Any:
    from azure.storage.blob import ContentSettings

    return ContentSettings(
        content_type=headers.content_type,
        content_md5=None if md5 is None else bytearray(md5),
    )


def _conditions(condition: Condition) -> dict[str, Any]:
    if condition.if_match is None:
        return {}
    from azure.core import MatchConditions

    return {"etag": f'"{condition.if_match}"', "match_condition": MatchConditions.IfNotModified}


def _absent(condition: Condition) -> dict[str, Any]:
    """Return the condition that there is no blob, for calls that have no `overwrite`."""
    if not condition.if_absent:
        return {}
    from azure.core import MatchConditions

    return {"match_condition": MatchConditions.IfMissing}


def _row(found: Any) -> FileRow:
    md5 = found.content_settings.content_md5
    status = found.archive_status
    archived = str(found.blob_tier or "") == "Archive"
    return FileRow(
        found.name,
        int(found.size),
        str(found.etag).strip('"'),
        to_micros(found.last_modified),
        found.content_settings.content_type,
        IDENTIFIERS.decode(found.metadata or {}),
        None
        if found.blob_tier is None
        else str(getattr(found.blob_tier, "value", found.blob_tier)),
        archived,
        "ongoing" if status else None,
        encryption=found.encryption_scope or ("Azure" if found.server_encrypted else None),
        checksum=None if md5 is None else ("md5", bytes(md5)),
    )


def _written(key: str, size: int, headers: Headers, answer: Mapping[str, Any]) -> FileRow:
    """Return the row of a file from the answer to its upload, without another request."""
    modified = answer.get("last_modified")
    return FileRow(
        key,
        size,
        str(answer["etag"]).strip('"'),
        system_clock() if modified is None else to_micros(modified),
        headers.content_type,
        IDENTIFIERS.decode(headers.metadata),
        encryption=answer.get("encryption_scope"),
    )
