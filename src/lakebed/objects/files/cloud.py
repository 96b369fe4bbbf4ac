"""Files in a bucket, through the requests of `lakebed.objects.buckets.cloud`."""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import ClassVar

from lakebed.errors import ConfigurationError, ConflictError, LakebedError, StorageError
from lakebed.objects.buckets.cloud import READ_BYTES, CloudStore
from lakebed.objects.files.names import TOKEN, Names
from lakebed.objects.files.store import (
    Condition,
    FileRow,
    Headers,
    Method,
    Page,
    PartedUpload,
    Rule,
    Signed,
    is_after,
)

_READ_TRIES = 30


class CloudFiles(CloudStore):
    """Files of a bucket. Each service has a subclass, which is also the service's object store."""

    NAMES: ClassVar[Names | None]
    """Translates names of metadata for the service. None if it accepts any name."""

    @property
    def name(self) -> str:
        """The URI."""
        return self._uri

    # Hooks for each service. Keys are full names in the bucket.

    @abstractmethod
    async def _put_file(
        self, key: str, data: bytes, headers: Headers, condition: Condition
    ) -> FileRow:
        """Upload a file in one request, if the condition holds."""

    @abstractmethod
    async def _stat(self, key: str) -> FileRow: ...

    @abstractmethod
    async def _range(self, key: str, start: int, end: int, etag: str) -> bytes:
        """Read a range if the file still has this etag."""

    async def _begin_read(self, key: str, most: int) -> tuple[FileRow, bytes | None]:
        """Return the row of a file. Return its content too, if one request gives both and it has at
        most `most` bytes."""
        del most
        return await self._stat(key), None

    @abstractmethod
    async def _remove_each(self, action: str, keys: Sequence[str]) -> dict[str, LakebedError]:
        """Delete objects with `_request`. Returns the errors by key."""

    @abstractmethod
    async def _files_page(
        self, prefix: str, delimiter: str | None, after: str, limit: int, token: str | None
    ) -> tuple[list[FileRow | str], str | None]:
        """List up to `limit` files and prefixes in order. The first may come before `after`.
        Returns them, and the token with which to continue."""

    @abstractmethod
    async def _copy_file(self, action: str, row: FileRow, source: str, target: str) -> None:
        """Copy a file of any size with `_request`."""

    @abstractmethod
    async def _sign_file(self, key: str, seconds: int, method: Method) -> Signed: ...

    async def _get_rules(self) -> list[Rule]:
        """Return the rules of the bucket whose prefixes begin with ours."""
        raise ConfigurationError(self._no_rules())

    async def _put_rules(self, rules: Sequence[Rule]) -> None:
        """Replace the rules of the bucket whose prefixes begin with ours."""
        del rules
        raise ConfigurationError(self._no_rules())

    def _no_rules(self) -> str:
        return f"lifecycle rules are not available on {self._protocol}://"

    # The interface of FileStore.

    def put(self, path: str, data: bytes, headers: Headers, condition: Condition) -> FileRow:
        action, key = f"write {self.uri(path)}", self._key(path)
        token, headers = self._marked(headers, always=condition.given)

        async def put() -> FileRow:
            return await self._conditional(
                action, path, condition, token, self._put_file, key, data, headers, condition
            )

        return self._own(self._run(action, put))

    def _marked(self, headers: Headers, *, always: bool) -> tuple[str, Headers]:
        """Return a token and headers. With `always`, the headers contain the token, because the
        write cannot simply be repeated."""
        token = secrets.token_hex(8)
        marked = {**headers.metadata, TOKEN: token} if always else headers.metadata
        sent = marked if self.NAMES is None else self.NAMES.encode(marked)
        return token, headers._replace(metadata=sent)

    async def _conditional(
        self,
        action: str,
        path: str,
        condition: Condition,
        token: str,
        call: Callable[..., Awaitable[FileRow]],
        *arguments: object,
    ) -> FileRow:
        """Make the request of a write. If no answer comes, it is repeated and may then be refused.
        The token of the file shows whether it was this write that succeeded."""
        tries = 0

        async def attempt() -> FileRow:
            nonlocal tries
            tries += 1
            return await call(*arguments)

        missing = False
        try:
            return await self._request(action, attempt)
        except FileExistsError:
            pass
        except FileNotFoundError:
            missing = True
        if tries > 1:
            with suppress(FileNotFoundError):
                row = await self._request(action, self._stat, self._key(path))
                if row.metadata.get(TOKEN) == token:
                    return row
        if missing and condition.if_match is None:
            raise StorageError(f"cannot {action}: the upload was aborted")
        raise condition.refused(path)

    def _own(self, row: FileRow) -> FileRow:
        """Return a row with its path under our root and without our token."""
        metadata = {name: value for name, value in row.metadata.items() if name != TOKEN}
        return row._replace(path=row.path[len(self._key("")) :], metadata=metadata)

    @abstractmethod
    def begin(
        self, path: str, size: int | None, part_size: int, headers: Headers, condition: Condition
    ) -> PartedUpload: ...

    def _look_before(self, path: str, condition: Condition) -> None:
        """Refuse an upload in parts if its condition does not hold now. The request that completes
        the upload checks the condition again."""
        if not condition.given:
            return
        try:
            etag = self.stat(path).etag
        except FileNotFoundError:
            etag = None
        if etag is not None if condition.if_absent else etag != condition.if_match:
            raise condition.refused(path)

    def stat(self, path: str) -> FileRow:
        action = f"read {self.uri(path)}"

        async def stat() -> FileRow:
            return await self._request(action, self._stat, self._key(path))

        return self._own(self._run(action, stat))

    def whole(self, path: str) -> tuple[FileRow, bytes]:
        action, key = f"read {self.uri(path)}", self._key(path)

        async def read() -> tuple[FileRow, bytes]:
            row, data = await self._request(action, self._begin_read, key, READ_BYTES)
            if data is None:
                starts = range(0, row.byte_size, READ_BYTES)
                parts = await asyncio.gather(
                    *(
                        self._pinned(path, start, min(start + READ_BYTES, row.byte_size), row.etag)
                        for start in starts
                    )
                )
                data = b"".join(parts)
            return row, data

        async def again() -> tuple[FileRow, bytes]:
            for _ in range(_READ_TRIES - 1):
                with suppress(ConflictError):  # replaced while it was read
                    return await read()
            return await read()

        row, data = self._run(action, again)
        return self._own(row), data

    async def _pinned(self, path: str, start: int, end: int, etag: str) -> bytes:
        action = f"read {self.uri(path)}"
        try:
            data = await self._request(action, self._range, self._key(path), start, end, etag)
        except (FileExistsError, FileNotFoundError):
            raise ConflictError(
                f"the file at {path!r} was replaced or deleted while it was read"
            ) from None
        if len(data) != end - start:
            raise StorageError(
                f"cannot {action}: the service sent {len(data)} bytes, not {end - start}"
            )
        return data

    def range(self, path: str, start: int, end: int, etag: str) -> bytes:
        return self._run(f"read {self.uri(path)}", self._pinned, path, start, end, etag)

    def remove(self, path: str) -> bool:
        try:
            self.stat(path)
        except FileNotFoundError:
            return False
        for error in self.remove_each([path]).values():
            raise error
        return True

    def remove_each(self, paths: Sequence[str]) -> dict[str, LakebedError]:
        if not paths:
            return {}
        action = f"delete {self.uri(paths[0])}"
        keys = [self._key(path) for path in paths]
        errors = self._run(action, self._remove_each, action, keys)
        return {key[len(self._key("")) :]: error for key, error in errors.items()}

    async def _remove_one(
        self, key: str, call: Callable[[str], Awaitable[object]]
    ) -> LakebedError | None:
        """Delete one object. Returns the error, or None if there was none."""
        action = f"delete {self._protocol}://{self._bucket}/{key}"
        try:
            await self._request(action, call, key)
        except FileNotFoundError:
            return None
        except LakebedError as error:
            return error
        return None

    async def _remove_all(
        self, keys: Sequence[str], call: Callable[[str], Awaitable[object]]
    ) -> dict[str, LakebedError]:
        """Delete each object with one request. Returns the errors by key."""
        ended = await asyncio.gather(*(self._remove_one(key, call) for key in keys))
        return {key: error for key, error in zip(keys, ended, strict=True) if error is not None}

    def page(self, prefix: str, delimiter: str | None, after: str, limit: int) -> Page:
        action, skipped = f"list {self.uri(prefix)}", len(self._key(""))
        items: list[FileRow | str] = []
        token: str | None = None
        start = self._key(after) if after else ""

        async def ask() -> tuple[list[FileRow | str], str | None]:
            wanted = limit - len(items) + 1
            return await self._request(
                action, self._files_page, self._key(prefix), delimiter, start, wanted, token
            )

        while True:
            found, token = self._run(action, ask)
            for item in found:
                path = (item if isinstance(item, str) else item.path)[skipped:]
                if not is_after(path, after):
                    continue
                if len(items) == limit:
                    return Page(items, more=True)
                items.append(path if isinstance(item, str) else item._replace(path=path))
            if token is None:
                return Page(items, more=False)

    def copy(self, source: str, target: str) -> FileRow:
        action = f"copy {self.uri(source)}"

        async def copy() -> FileRow:
            row = await self._request(action, self._stat, self._key(source))
            await self._copy_file(action, row, self._key(source), self._key(target))
            return await self._request(action, self._stat, self._key(target))

        return self._own(self._run(action, copy))

    def move(self, source: str, target: str) -> FileRow:
        row = self.copy(source, target)
        for error in self.remove_each([source]).values():
            raise error
        return row

    def sign_for(self, path: str, seconds: int, method: Method) -> Signed:
        action = f"sign {self.uri(path)}"

        async def signed() -> Signed:
            return await self._request(action, self._sign_file, self._key(path), seconds, method)

        return self._run(action, signed)

    def rules(self) -> list[Rule]:
        async def read() -> list[Rule]:
            return await self._request("read the lifecycle rules", self._get_rules)

        skipped = len(self._key(""))
        found = self._run("read the lifecycle rules", read)
        return [rule._replace(prefix=rule.prefix[skipped:]) for rule in found]

    def set_rules(self, rules: Sequence[Rule]) -> None:
        ours = [rule._replace(prefix=self._key(rule.prefix)) for rule in rules]
        self._run(
            "write the lifecycle rules", self._request, "write the lifecycle rules",
            self._put_rules, ours,
        )  # fmt: skip

    def abandon(self, before: int) -> int:
        return self.abandon_uploads(before)

    def expire(self, now: int) -> int:
        """Do nothing: the service applies the rules itself."""
        del now
        return 0
