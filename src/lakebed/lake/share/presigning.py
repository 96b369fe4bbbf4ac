"""URLs that let others read one content for a while."""

from __future__ import annotations

from datetime import timedelta

from lakebed.catalog.protocol import Place
from lakebed.errors import ConfigurationError, CorruptionError, NotFoundError, ValidationError
from lakebed.lake.base import PresentLake
from lakebed.lake.checks import check_key
from lakebed.lake.contents.uploading import LEASE_SECONDS, give_up
from lakebed.model import EntryRow, Upload
from lakebed.objects.names import object_path
from lakebed.objects.store import Signer
from lakebed.values.parts import TABLE

LONGEST_EXPIRY = 7 * 86_400
"""The longest time in seconds for which S3 and Google Cloud Storage let a signature be valid."""
_ATTEMPTS = 5


class Presigning(PresentLake):
    """The call `presign`."""

    def presign(self, key: str, expires: float | timedelta = 3600) -> str:
        """Return a URL with which anybody can read the stored bytes of an entry.

        They are canonical JSON, the bytes, or a Parquet file. `expires`: how long the URL works, a
        timedelta or seconds from 1 to 604,800 (seven days).

        The URL leads to the content as it is now, even if the key is stored again. Once nothing
        refers to that content, `collect` removes it, and the URL stops working. A content that is
        inline or in a pack is first written as an object of its own, so that the URL gives no
        access to other values.

        Raises NotFoundError if the key does not exist, ValidationError if `expires` is out of
        range, and ReadOnlyError if a read-only lake would have to write the content first. Raises
        ConfigurationError if the storage cannot sign, or if the entry is a table of several parts.
        (The storage must be S3, Google Cloud Storage or Azure, with credentials that can sign.)
        Raises CorruptionError for a damaged content, and StorageError if the storage fails.
        """
        seconds = _check_expires(expires)
        signer: object = self._objects
        if not isinstance(signer, Signer):
            raise ConfigurationError("presign needs a storage in a bucket: s3://, gs:// or az://")
        for _ in range(_ATTEMPTS):
            row = self._catalog.get(check_key(key))
            if row is None:
                raise NotFoundError(f"no entry with the key {key!r}")
            if row.format == TABLE:
                raise ConfigurationError(
                    f"presign needs a single file, and the table {key!r} has several parts: "
                    "compact() joins them"
                )
            path = row.uri if row.uri is not None and row.position is None else self._alone(row)
            if path is not None:
                return signer.sign(path, seconds)
        raise CorruptionError(f"the content of {key!r} moved each time it was looked up")

    def _alone(self, row: EntryRow) -> str | None:
        """Write a content as an object of its own. Return its path, or None if another writer moved
        the content meanwhile."""
        self._must_write("presign of a value that is not a file of its own")
        assert self._objects is not None
        data = self._read_checked(row)
        path = object_path(row.content_hash, row.format)
        self._catalog.lease([path], LEASE_SECONDS)
        try:
            self._objects.write(path, data)
            place = Place(row.inline_value, row.uri, row.position)
            upload = Upload(path, len(data))
            moved = self._catalog.replace((row.content_hash, row.format), place, upload)
        except Exception:
            give_up(self._catalog, [path])
            raise
        return path if moved else None


def _check_expires(expires: float | timedelta) -> int:
    seconds = expires.total_seconds() if isinstance(expires, timedelta) else expires
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise ValidationError(
            f"expires must be seconds or a timedelta, got {type(expires).__name__}"
        )
    if not 1 <= seconds <= LONGEST_EXPIRY:
        raise ValidationError(
            f"expires must be 1 to {LONGEST_EXPIRY:,} seconds (seven days), got {seconds!r}"
        )
    return int(seconds)
