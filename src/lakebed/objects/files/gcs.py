"""Files on Google Cloud Storage. An etag is the generation of an object."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from lakebed.clock import to_micros
from lakebed.errors import LakebedError, StorageError
from lakebed.objects.buckets.gcs import GCSStore
from lakebed.objects.files.cloud import CloudFiles
from lakebed.objects.files.store import Condition, FileRow, Headers, Method, Signed

_STEP = 256 << 10  # chunks of a resumable upload are multiples of it


class GCSFiles(CloudFiles, GCSStore):
    """Files on Google Cloud Storage. The options are those of `GCSStore`."""

    NAMES = None  # metadata is JSON here

    async def _put_file(
        self, key: str, data: bytes, headers: Headers, condition: Condition
    ) -> FileRow:
        resource = self._resource(key, headers, data)
        answer = await self._put_described(
            resource, headers.content_type, data, _conditions(condition)
        )
        self._check_stored(key, len(data), hashlib.md5(data, usedforsecurity=False), answer)
        return self._row(answer)

    def _resource(self, key: str, headers: Headers, data: bytes | None) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": key,
            "contentType": headers.content_type,
            "metadata": dict(headers.metadata),
        }
        if data is not None:  # the service refuses other bytes
            digest = hashlib.md5(data, usedforsecurity=False).digest()
            found["md5Hash"] = base64.b64encode(digest).decode()
        return found

    def _check_stored(self, key: str, size: int, md5: Any, answer: Mapping[str, Any]) -> None:
        found = (int(answer["size"]), answer.get("md5Hash"))
        if found != (size, base64.b64encode(md5.digest()).decode()):
            raise StorageError(
                f"{key} differs after the upload: {size} bytes were sent, {found[0]} stored"
            )
        self._verify_key(key, answer)

    def begin(
        self, path: str, size: int | None, part_size: int, headers: Headers, condition: Condition
    ) -> GCSUpload:
        del size, part_size
        action, key = f"write {self.uri(path)}", self._key(path)
        self._look_before(path, condition)
        token, marked = self._marked(headers, always=condition.given)

        async def begin() -> str:
            answer, _ = await self._fs._call(
                "POST",
                f"{self._fs._location}/upload/storage/v1/b/{{}}/o",
                self._bucket,
                uploadType="resumable",
                name=key,
                headers={"X-Upload-Content-Type": headers.content_type},
                json=self._resource(key, marked, None),
                **self._kms,
                **_conditions(condition),
            )
            place: str = answer["Location"]
            return place

        async def ask() -> str:
            try:
                return await self._request(action, begin)
            except FileExistsError:
                raise condition.refused(path) from None

        return GCSUpload(self, path, self._run(action, ask), headers.content_type, condition, token)

    async def _stat(self, key: str) -> FileRow:
        answer = await self._fs._call("GET", "b/{}/o/{}", self._bucket, key, json_out=True)
        return self._row(answer)

    def _row(self, answer: Mapping[str, Any]) -> FileRow:
        md5 = answer.get("md5Hash")
        return FileRow(
            answer["name"],
            int(answer["size"]),
            str(answer["generation"]),
            to_micros(datetime.fromisoformat(answer["timeCreated"])),
            answer.get("contentType"),
            answer.get("metadata") or {},
            answer.get("storageClass"),
            encryption="CMEK" if answer.get("kmsKeyName") else None,
            kms_key_id=answer.get("kmsKeyName"),
            checksum=None if md5 is None else ("md5", base64.b64decode(md5)),
        )

    async def _range(self, key: str, start: int, end: int, etag: str) -> bytes:
        _, data = await self._fs._call(
            "GET",
            f"{self._fs._location}/download/storage/v1/b/{{}}/o/{{}}",
            self._bucket,
            key,
            alt="media",
            generation=etag,
            headers={"Range": f"bytes={start}-{end - 1}"},
        )
        return bytes(data)

    async def _remove_each(self, action: str, keys: Sequence[str]) -> dict[str, LakebedError]:
        del action

        async def remove(key: str) -> None:
            await self._fs._call("DELETE", "b/{}/o/{}", self._bucket, key)

        return await self._remove_all(keys, remove)

    async def _files_page(
        self, prefix: str, delimiter: str | None, after: str, limit: int, token: str | None
    ) -> tuple[list[FileRow | str], str | None]:
        folder = delimiter and after.endswith(delimiter)  # skip all that is in this folder
        answer = await self._fs._call(
            "GET", "b/{}/o", self._bucket,
            prefix=prefix, delimiter=delimiter, pageToken=token, maxResults=str(min(limit, 1000)),
            startOffset=(f"{after}\U0010ffff" if folder else after) or None, json_out=True,
        )  # fmt: skip
        items: list[FileRow | str] = [self._row(item) for item in answer.get("items", ())]
        items += answer.get("prefixes", ())
        items.sort(key=lambda item: (item if isinstance(item, str) else item.path).encode())
        return items, answer.get("nextPageToken")

    async def _copy_file(self, action: str, row: FileRow, source: str, target: str) -> None:
        key = self._kms.get("kmsKeyName")
        more: dict[str, str] = {"destinationKmsKeyName": key} if key else {}

        async def step() -> Mapping[str, Any]:
            answer: Mapping[str, Any] = await self._fs._call(
                "POST", "b/{}/o/{}/rewriteTo/b/{}/o/{}",
                self._bucket, source, self._bucket, target,
                sourceGeneration=row.etag, headers={"Content-Type": "application/json"},
                json_out=True, **more,
            )  # fmt: skip
            return answer

        while not (answer := await self._request(action, step))["done"]:
            more["rewriteToken"] = answer["rewriteToken"]
        self._verify_key(target, answer["resource"])

    async def _sign_file(self, key: str, seconds: int, method: Method) -> Signed:
        return Signed(await self._sign_for(key, seconds, method))


class GCSUpload:
    """A resumable upload. Its chunks are sent in order, and only the last one may have any size.
    Bytes that do not fill a step wait for the next part."""

    width = 1

    def __init__(
        self,
        store: GCSFiles,
        path: str,
        place: str,
        content_type: str,
        condition: Condition,
        token: str,
    ) -> None:
        self._store, self._path, self._place = store, path, place
        self._condition, self._token, self._type = condition, token, content_type
        self._action = f"write {store.uri(path)}"
        self._waiting = b""
        self._sent = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def send(self, number: int, data: bytes) -> None:
        del number
        self._md5.update(data)
        waiting = self._waiting + data if self._waiting else data
        size = (len(waiting) - 1) // _STEP * _STEP
        if size > 0:
            chunk, self._waiting = waiting[:size], waiting[size:]
            self._run(lambda: self._chunk(chunk, "*"))
            self._sent += size
        else:
            self._waiting = waiting

    def _run(self, call: Callable[[], Awaitable[object]]) -> None:
        store = self._store
        try:
            store._run(self._action, store._request, self._action, call)
        except (FileNotFoundError, FileExistsError):
            raise StorageError(f"cannot {self._action}: the upload was aborted") from None

    async def _chunk(self, data: bytes, total: str) -> bytes:
        begin = self._sent
        while True:
            place = f"bytes {begin}-{begin + len(data) - 1}/{total}" if data else f"bytes */{total}"
            headers, content = await self._store._fs._call(
                "PUT",
                self._place,
                headers={"Content-Range": place, "Content-Type": self._type},
                data=data,
            )
            if total != "*":
                return bytes(content)
            kept = int(str(headers.get("Range", "bytes=0--1")).rpartition("-")[2] or -1) + 1
            if kept >= begin + len(data):
                return b""
            data, begin = data[kept - begin :], kept

    def complete(self) -> FileRow:
        store, total = self._store, self._sent + len(self._waiting)

        async def last() -> FileRow:
            answer = json.loads(await self._chunk(self._waiting, str(total)))
            store._check_stored(self._path, total, self._md5, answer)
            return store._row(answer)

        return store._own(
            store._run(
                self._action, store._conditional, self._action, self._path, self._condition,
                self._token, last,
            )
        )  # fmt: skip

    def abort(self) -> None:
        async def abort() -> None:
            await self._store._fs._call("DELETE", self._place)

        with suppress(StorageError):  # otherwise the service removes it after a week
            self._run(abort)


def _conditions(condition: Condition) -> dict[str, str]:
    if condition.if_absent:
        return {"ifGenerationMatch": "0"}
    if condition.if_match is None:
        return {}
    # No object has the generation 1, so an etag that is not a generation matches nothing.
    known = condition.if_match.isdecimal() and condition.if_match != "0"
    return {"ifGenerationMatch": condition.if_match if known else "1"}
