"""Files under paths, with results as dictionaries."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Self

from lakebed.files.files import Files
from lakebed.files.uploading import PART_BYTES, Source
from lakebed.model import Progress
from lakebed.objects.files.rules import to_json
from lakebed.objects.files.store import FileStore, Rule
from lakebed.reporting import Result, explain, failure, reported


class BlobStorage:
    """Files under paths: the calls of `Files`, with results as dictionaries.

    Every result has `success`. If it is False, `error` says why, and `error_type` names the kind of
    error (see `lakebed.errors`): `not_found` for a missing file, `conflict` for a condition that
    does not hold. Times are in ISO 8601. The attribute `files` has the same calls, but they raise
    their errors.

    `store`: where the files are kept. Each type of `create_blob_storage` has a subclass that makes
    a store from options. Close the storage, or use it in a `with` block.
    """

    def __init__(self, store: FileStore) -> None:
        self.files = Files(store)

    @reported
    def upload(
        self,
        path: str,
        content: bytes | str,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
    ) -> Result:
        """Write a whole file, as `Files.upload`.

        Returns `{success, path, size, etag, content_type, metadata, last_modified, encryption, …}`,
        as `info` does.
        """
        return _result(
            self.files.upload(path, content, content_type, metadata, if_absent, if_match)
        )

    @reported
    def upload_file(
        self,
        path: str,
        file: Source,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
        if_absent: bool = False,
        if_match: str | None = None,
        *,
        part_size: int = PART_BYTES,
        progress: Progress | None = None,
    ) -> Result:
        """Upload a local file or a binary file object, as `Files.upload_file`. Returns what
        `upload` does."""
        return _result(
            self.files.upload_file(
                path, file, content_type, metadata, if_absent, if_match,
                part_size=part_size, progress=progress,
            )
        )  # fmt: skip

    @reported
    def download(self, path: str) -> Result:
        """Return the content of a file: `{success, content, path, size, etag, content_type,
        metadata, last_modified, …}`."""
        info, content = self.files.fetch(path)
        return _result(info) | {"content": content}

    @reported
    def download_file(
        self,
        path: str,
        file: str | os.PathLike[str],
        *,
        part_size: int = PART_BYTES,
        progress: Progress | None = None,
    ) -> Result:
        """Download a file to a local one, as `Files.download_file`. Returns what `upload` does."""
        return _result(self.files.download_file(path, file, part_size=part_size, progress=progress))

    def open(self, path: str, mode: str = "rb") -> io.BufferedReader:
        """Open a file for reading, as `Files.open`. This call has no result to put errors in, so it
        raises them."""
        return self.files.open(path, mode)

    @reported
    def delete(self, path: str) -> Result:
        """Delete a file: `{success, deleted, path}`. A missing file is a success with `deleted`
        False."""
        return {"success": True, "deleted": self.files.delete(path), "path": path}

    @reported
    def delete_many(self, paths: Iterable[str]) -> Result:
        """Delete files: `{success, deleted_count, failed_count, errors}`.

        `errors` maps the path of each file that was not deleted to `{error, error_type}`. A missing
        file counts as deleted.
        """
        done = self.files.delete_many(paths)
        result = {"success": True}
        for error in done.errors.values():
            result = failure(error)
            break
        return result | {
            "deleted_count": done.deleted,
            "failed_count": len(done.errors),
            "errors": {path: explain(error) for path, error in done.errors.items()},
        }

    @reported
    def exists(self, path: str) -> Result:
        """Return whether a file exists at a path: `{success, exists, path}`."""
        return {"success": True, "exists": self.files.exists(path), "path": path}

    @reported
    def info(self, path: str) -> Result:
        """Return what is known about a file: `{success, path, size, etag, content_type, metadata,
        last_modified, storage_class, archived, restore, restored_until, encryption, kms_key_id,
        lifecycle_rule, expires_at}`. See `FileInfo`."""
        return _result(self.files.info(path))

    @reported
    def list(
        self,
        prefix: str = "",
        delimiter: str | None = None,
        limit: int = 1000,
        after: str | None = None,
    ) -> Result:
        """Return files in the order of their paths, as `Files.list`: `{success, files, prefixes,
        count, after}`.

        `files` is a list of `{path, size, etag, last_modified, storage_class}`. `count` is the
        number of files and prefixes.
        """
        found = self.files.list(prefix, delimiter, limit, after)
        return {
            "success": True,
            "files": [_plain(file) for file in found.files],
            "prefixes": list(found.prefixes),
            "count": len(found.files) + len(found.prefixes),
            "after": found.after,
        }

    @reported
    def copy(self, source: str, target: str) -> Result:
        """Copy a file, as `Files.copy`. Returns what `upload` does, about the copy."""
        return _result(self.files.copy(source, target))

    @reported
    def move(self, source: str, target: str) -> Result:
        """Move a file, as `Files.move`. Returns what `upload` does, about the moved file."""
        return _result(self.files.move(source, target))

    @reported
    def presign(self, path: str, expires: float | timedelta = 3600, method: str = "GET") -> Result:
        """Return a URL for others, as `Files.presign`: `{success, url, expires_at, method,
        headers}`."""
        return _result(self.files.presign(path, expires, method))

    @reported
    def lifecycle(self) -> Result:
        """Return the lifecycle rules: `{success, rules}`. Each rule is `{id, prefix, expire_days,
        transitions, abort_days, enabled}`."""
        return {"success": True, "rules": [to_json(rule) for rule in self.files.lifecycle()]}

    @reported
    def set_lifecycle(self, rules: Iterable[Rule | Mapping[str, object]]) -> Result:
        """Replace the lifecycle rules, as `Files.set_lifecycle`: `{success, rules}`. `rules` has
        the rules as they are afterwards."""
        self.files.set_lifecycle(rules)
        return {"success": True, "rules": [to_json(rule) for rule in self.files.lifecycle()]}

    @reported
    def cleanup(self, older_than: float | timedelta = 86_400) -> Result:
        """Abort unfinished uploads and delete what rules expire, as `Files.cleanup`: `{success,
        aborted_count, expired_count}`."""
        done = self.files.cleanup(older_than)
        return {"success": True, "aborted_count": done.aborted, "expired_count": done.expired}

    def close(self) -> None:
        """Close connections. Later calls fail. Closing again does nothing."""
        self.files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.files.name}>"


def _result(record: Mapping[str, Any]) -> Result:
    return {"success": True} | _plain(record)


def _plain(record: Mapping[str, Any]) -> Result:
    return {
        name: value.isoformat()
        if isinstance(value, datetime)
        else dict(value)
        if isinstance(value, Mapping)
        else value
        for name, value in record.items()
    }
