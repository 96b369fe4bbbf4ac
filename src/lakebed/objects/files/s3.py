"""Files on S3 and compatible services."""

from __future__ import annotations

import asyncio
import base64
import re
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from lakebed.clock import system_clock, to_micros
from lakebed.errors import LakebedError, StorageError
from lakebed.objects.buckets.failures import Failure
from lakebed.objects.buckets.s3 import S3Store, md5_header
from lakebed.objects.files.cloud import CloudFiles
from lakebed.objects.files.names import HEADER_NAMES
from lakebed.objects.files.s3_rules import from_s3, is_ours, to_s3
from lakebed.objects.files.store import Condition, FileRow, Headers, Method, Rule, Signed

COPY_BYTES = 5 << 30
"""The largest file that one request copies, and the size of the parts of a larger one."""
MAX_PARTS = 10_000
"""The most parts of an upload."""

_PARTS_AT_ONCE = 10
_DELETED_AT_ONCE = 1000  # the limit of DeleteObjects
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_UNTIL = re.compile(r'expiry-date="([^"]*)"')
_RULE = re.compile(r'rule-id="([^"]*)"')


class S3Files(CloudFiles, S3Store):
    """Files on S3. The options are those of `S3Store`."""

    NAMES = HEADER_NAMES

    async def _put_file(
        self, key: str, data: bytes, headers: Headers, condition: Condition
    ) -> FileRow:
        arguments = {**_headers(headers), **_conditions(condition), **self._checks(data)}
        answer = await self._call("put_object", Key=key, Body=data, **arguments, **self._encryption)
        self._verify_encryption(key, answer)
        row = await self._stat(key) if not _proven(data, answer) else None
        if row is not None and row.byte_size != len(data) and row.etag == _etag(answer):
            raise StorageError(f"{key} has {row.byte_size} bytes after an upload of {len(data)}")
        return _written(key, len(data), headers, answer)

    def _checks(self, data: bytes) -> dict[str, str]:
        """Return the checksum to send with an upload, if the client adds none itself."""
        return {} if self._newer_checksums else {"ContentMD5": md5_header(data)}

    def begin(
        self, path: str, size: int | None, part_size: int, headers: Headers, condition: Condition
    ) -> S3Upload:
        action, key = f"write {self.uri(path)}", self._key(path)
        self._look_before(path, condition)
        token, marked = self._marked(headers, always=True)
        begun = self._run(
            action, self._request, action, self._call_with, "create_multipart_upload",
            {"Key": key, **_headers(marked), **self._encryption, **self._algorithm()},
        )  # fmt: skip
        del size, part_size
        return S3Upload(self, path, begun["UploadId"], marked, condition, token)

    def _algorithm(self) -> dict[str, str]:
        return {"ChecksumAlgorithm": "CRC32"} if self._newer_checksums else {}

    async def _stat(self, key: str) -> FileRow:
        arguments = {"ChecksumMode": "ENABLED"} if self._newer_checksums else {}
        answer = await self._call("head_object", Key=key, **arguments)
        return self._row(key, answer, int(answer["ContentLength"]))

    def _row(self, key: str, answer: Mapping[str, Any], size: int) -> FileRow:
        storage_class = str(answer.get("StorageClass") or "STANDARD")
        told = str(answer.get("Restore", ""))
        ongoing, until = 'ongoing-request="true"' in told, _UNTIL.search(told)
        archived = storage_class in _ARCHIVES or bool(answer.get("ArchiveStatus"))
        rule = _RULE.search(str(answer.get("Expiration", "")))
        whole = answer.get("ChecksumCRC32") if answer.get("ChecksumType") == "FULL_OBJECT" else None
        return FileRow(
            key,
            size,
            _etag(answer),
            to_micros(answer["LastModified"]),
            str(answer.get("ContentType") or "") or None,
            HEADER_NAMES.decode(answer.get("Metadata", {})),
            storage_class,
            archived,
            ("ongoing" if ongoing else "restored") if told else None,
            to_micros(parsedate_to_datetime(until[1])) if until else None,
            answer.get("ServerSideEncryption"),
            answer.get("SSEKMSKeyId"),
            rule[1] if rule else None,
            ("crc32", base64.b64decode(whole)) if whole else None,
        )

    async def _range(self, key: str, start: int, end: int, etag: str) -> bytes:
        answer = await self._call(
            "get_object", Key=key, Range=f"bytes={start}-{end - 1}", IfMatch=f'"{etag}"'
        )
        async with answer["Body"] as body:
            data: bytes = await body.read()
        return data

    async def _begin_read(self, key: str, most: int) -> tuple[FileRow, bytes | None]:
        answer = await self._call("get_object", Key=key)
        async with answer["Body"] as body:
            size = int(answer["ContentLength"])
            data = None if size > most else await body.read()  # its checksum is verified by reading
        return self._row(key, answer, size), data

    async def _remove_each(self, action: str, keys: Sequence[str]) -> dict[str, LakebedError]:
        async def remove(some: Sequence[str]) -> dict[str, LakebedError]:
            names = {"Objects": [{"Key": key} for key in some], "Quiet": True}
            answer = await self._call("delete_objects", Delete=names)
            return {
                error["Key"]: Failure(str(error.get("Message")), str(error.get("Code"))).error(
                    f"delete s3://{self._bucket}/{error['Key']}", self._bucket, 0
                )
                for error in answer.get("Errors", ())
                if error.get("Code") != "NoSuchKey"
            }

        ended = await asyncio.gather(
            *(
                self._request(action, remove, keys[first : first + _DELETED_AT_ONCE])
                for first in range(0, len(keys), _DELETED_AT_ONCE)
            )
        )
        return {key: error for errors in ended for key, error in errors.items()}

    async def _files_page(
        self, prefix: str, delimiter: str | None, after: str, limit: int, token: str | None
    ) -> tuple[list[FileRow | str], str | None]:
        where: dict[str, object] = {"Prefix": prefix, "MaxKeys": min(limit, 1000)}
        if delimiter:
            where["Delimiter"] = delimiter
        if token is not None:
            where["ContinuationToken"] = token
        elif after:
            # If it is a folder, skip all that is in it.
            folder = delimiter and after.endswith(delimiter)
            where["StartAfter"] = f"{after}\U0010ffff" if folder else after
        answer = await self._call("list_objects_v2", **where)
        items: list[FileRow | str] = [
            FileRow(
                item["Key"],
                int(item["Size"]),
                _etag(item),
                to_micros(item["LastModified"]),
                storage_class=str(item.get("StorageClass") or "STANDARD"),
                archived=item.get("StorageClass") in _ARCHIVES,
            )
            for item in answer.get("Contents", ())
        ]
        items += [item["Prefix"] for item in answer.get("CommonPrefixes", ())]
        items.sort(key=lambda item: (item if isinstance(item, str) else item.path).encode())
        return items, answer.get("NextContinuationToken")

    async def _copy_file(self, action: str, row: FileRow, source: str, target: str) -> None:
        if row.byte_size > COPY_BYTES:
            await self._copy_parts(action, row, source, target)
            return
        where = {"Bucket": self._bucket, "Key": source}
        answer = await self._request(
            action, self._call_with, "copy_object",
            {"Key": target, "CopySource": where, "CopySourceIfMatch": f'"{row.etag}"',
             **self._encryption},
        )  # fmt: skip
        self._verify_encryption(target, answer)

    async def _copy_parts(self, action: str, row: FileRow, source: str, target: str) -> None:
        headers = Headers(row.content_type or "", HEADER_NAMES.encode(row.metadata))
        begun = await self._request(
            action, self._call_with, "create_multipart_upload",
            {"Key": target, **_headers(headers), **self._encryption},
        )  # fmt: skip
        upload = {"Key": target, "UploadId": begun["UploadId"]}
        where = {"Bucket": self._bucket, "Key": source}

        async def copy(number: int) -> dict[str, Any]:
            start = number * COPY_BYTES
            end = min(start + COPY_BYTES, row.byte_size)
            part = {
                **upload, "PartNumber": number + 1, "CopySource": where,
                "CopySourceIfMatch": f'"{row.etag}"', "CopySourceRange": f"bytes={start}-{end - 1}",
            }  # fmt: skip
            answer = await self._request(action, self._call_with, "upload_part_copy", part)
            return {"PartNumber": number + 1, "ETag": answer["CopyPartResult"]["ETag"]}

        try:
            parts = [await copy(number) for number in range(-(-row.byte_size // COPY_BYTES))]
            whole = {**upload, "MultipartUpload": {"Parts": parts}}
            answer = await self._request(
                action, self._call_with, "complete_multipart_upload", whole
            )
            self._verify_encryption(target, answer)
        except BaseException:
            with suppress(Exception):  # otherwise `abandon_uploads` finds it
                await self._request(action, self._call_with, "abort_multipart_upload", upload)
            raise

    async def _sign_file(self, key: str, seconds: int, method: Method) -> Signed:
        if method == "GET":
            return Signed(await self._sign(key, seconds))
        client = await self._fs.set_session()
        url = await client.generate_presigned_url(
            "put_object",
            Params={"Bucket": self._bucket, "Key": key, **self._encryption},
            ExpiresIn=seconds,
        )
        names = {
            "ServerSideEncryption": "x-amz-server-side-encryption",
            "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
        }
        return Signed(url, {names[name]: value for name, value in self._encryption.items()})

    async def _get_rules(self) -> list[Rule]:
        return [from_s3(rule) for rule in await self._raw_rules() if is_ours(rule, self._key(""))]

    async def _raw_rules(self) -> list[Mapping[str, Any]]:
        from botocore.exceptions import ClientError

        try:
            answer = await self._call("get_bucket_lifecycle_configuration")
        except OSError as error:
            cause = error.__cause__
            code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else ""
            if code != "NoSuchLifecycleConfiguration":
                raise
            return []
        return list(answer.get("Rules", ()))

    async def _put_rules(self, rules: Sequence[Rule]) -> None:
        others = [rule for rule in await self._raw_rules() if not is_ours(rule, self._key(""))]
        whole = [*others, *map(to_s3, rules)]
        if whole:
            await self._call(
                "put_bucket_lifecycle_configuration", LifecycleConfiguration={"Rules": whole}
            )
        else:
            await self._call("delete_bucket_lifecycle")


class S3Upload:
    """A multipart upload."""

    width = _PARTS_AT_ONCE

    def __init__(
        self,
        store: S3Files,
        path: str,
        upload_id: str,
        headers: Headers,
        condition: Condition,
        token: str,
    ) -> None:
        self._store, self._path, self._headers = store, path, headers
        self._condition, self._token = condition, token
        self._action = f"write {store.uri(path)}"
        self._upload = {"Key": store._key(path), "UploadId": upload_id}
        self._parts: dict[int, dict[str, Any]] = {}
        self._size = 0

    def send(self, number: int, data: bytes) -> None:
        part = {
            **self._upload, "PartNumber": number + 1, "Body": data, **self._store._checks(data),
            **self._store._algorithm(),
        }  # fmt: skip
        if number >= MAX_PARTS:
            raise StorageError(
                f"cannot {self._action}: it has more than {MAX_PARTS:,} parts: give a larger "
                "part_size"
            )
        try:
            answer = self._ask("upload_part", part)
        except FileNotFoundError:
            raise StorageError(f"cannot {self._action}: the upload was aborted") from None
        told = {name: answer[name] for name in ("ETag", "ChecksumCRC32") if name in answer}
        self._parts[number] = {"PartNumber": number + 1, **told}
        self._size += len(data)

    def _ask(self, method: str, arguments: Mapping[str, object]) -> Mapping[str, Any]:
        store = self._store
        return store._run(
            self._action, store._request, self._action, store._call_with, method, arguments
        )

    def complete(self) -> FileRow:
        store, key = self._store, self._upload["Key"]
        parts = [part for _, part in sorted(self._parts.items())]
        whole = {
            **self._upload, "MultipartUpload": {"Parts": parts}, **_conditions(self._condition),
        }  # fmt: skip

        async def complete() -> FileRow:
            answer = await store._call_with("complete_multipart_upload", whole)
            store._verify_encryption(key, answer)
            return await store._stat(key)

        row = store._own(
            store._run(
                self._action,
                store._conditional,
                self._action,
                self._path,
                self._condition,
                self._token,
                complete,
            )
        )
        if row.byte_size != self._size and _parts_of(row.etag) == len(parts):
            raise StorageError(
                f"{self._path!r} has {row.byte_size} bytes after an upload of {self._size}"
            )
        return row

    def abort(self) -> None:
        with suppress(FileNotFoundError):  # completed or aborted already
            self._ask("abort_multipart_upload", self._upload)


def _headers(headers: Headers) -> dict[str, object]:
    return {"ContentType": headers.content_type, "Metadata": dict(headers.metadata)}


def _conditions(condition: Condition) -> dict[str, str]:
    if condition.if_absent:
        return {"IfNoneMatch": "*"}
    return {} if condition.if_match is None else {"IfMatch": f'"{condition.if_match}"'}


def _etag(answer: Mapping[str, Any]) -> str:
    return str(answer["ETag"]).strip('"')


def _parts_of(etag: str) -> int | None:
    """Return the number of parts in an etag of S3, or None if it has none."""
    number = etag.rpartition("-")[2]
    return int(number) if "-" in etag and number.isdigit() else None


def _written(key: str, size: int, headers: Headers, answer: Mapping[str, Any]) -> FileRow:
    """Return the row of a file from the answer to its upload, without another request."""
    return FileRow(
        key,
        size,
        _etag(answer),
        system_clock(),
        headers.content_type,
        HEADER_NAMES.decode(headers.metadata),
        encryption=answer.get("ServerSideEncryption"),
        kms_key_id=answer.get("SSEKMSKeyId"),
    )


def _proven(data: bytes, answer: Mapping[str, Any]) -> bool:
    """Return whether the answer to an upload proves that the bytes arrived."""
    told = answer.get("ChecksumCRC32")
    return bool(told == base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode())
