"""A catalog by itself: names and what they refer to, for who brings contents by other ways."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lakebed.catalog.protocol import Place
from lakebed.clock import from_micros
from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.checks import check_expiry, check_key
from lakebed.lake.entries.batch_reading import Retrieved
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.lake import Lake
from lakebed.lake.opening import open as open_lake
from lakebed.lake.upkeep.maintenance import CleanupReport
from lakebed.model import Content, Entry, Put, Record, StoredEntry
from lakebed.values.codec import encode_metadata
from lakebed.values.hash import digest, parse_content_hash

_FORMATS = ("json", "bytes", "parquet")


def create_catalog_backend(type: str, *, storage: Any = None, **options: Any) -> CatalogBackend:  # noqa: A002
    """Open a catalog by its type: `sqlite`, `postgres`, or one that was registered.

    `options` are those of the catalog; `url`, `connection_string` and `path` are one and the same.
    `storage`: as for `lakebed.open`.

    Raises ConfigurationError for a type or an option that is not known, DependencyMissingError with
    the pip command for a driver that is not installed, ConnectError for a server that cannot be
    reached.
    """
    return CatalogBackend(open_lake(catalog={"type": type, **options}, storage=storage))


class Changed(Record):
    """A key that differs: `change` is `added`, `changed` or `removed`, `entry` as it is now, and
    for a removed one as it was."""

    __slots__ = ("change", "entry", "key")
    FIELDS = ("key", "change", "entry")

    def __init__(self, change: str, entry: Entry) -> None:
        self.key = entry.key
        self.change = change
        self.entry = entry


class CatalogBackend:
    """The calls of a catalog under its protocol's names; all results read as mappings."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def track_entry(
        self,
        key: str,
        content_hash: str,
        storage_uri: str | None,
        byte_size: int,
        metadata: dict[str, Any] | None = None,
        inlined_value: bytes | None = None,
        expires_at: datetime | None = None,
    ) -> StoredEntry:
        """Let a key refer to content that is there, or that comes along as `inlined_value`.

        `content_hash`: `sha256:` and 64 hexadecimal digits. `storage_uri`: where the content lies,
        as an entry shows it; None if inline. `byte_size`: of the stored bytes. `expires_at`: aware.

        Raises NotFoundError for a hash that the catalog does not hold, or not at that URI;
        ValidationError for bytes that have another hash or size.
        """
        wanted = parse_content_hash(content_hash, "content_hash")
        if inlined_value is not None:
            content = _inlined(wanted, storage_uri, byte_size, inlined_value)
        else:
            content = self._known(wanted, storage_uri, byte_size)
        _, absolute = check_expiry(None, expires_at)
        put = Put(check_key(key), content, encode_metadata(metadata), None, absolute)
        (outcome,) = self.lake._catalog.commit((put,))
        return StoredEntry(outcome, self.lake)

    def _known(self, content_hash: bytes, storage_uri: str | None, byte_size: int) -> Content:
        """Content that the catalog holds, where it is said to lie."""
        catalog = self.lake._catalog
        known = catalog.known([(content_hash, format) for format in _FORMATS])
        for found in sorted(known):
            place = catalog.locate(found)
            if place is not None and self._uri(place) == storage_uri:
                return Content(*found, byte_size)
        shown = f"sha256:{content_hash.hex()}"
        if not known:
            raise NotFoundError(f"the catalog holds no content with the hash {shown}")
        raise NotFoundError(f"the content {shown} does not lie at {storage_uri or 'the catalog'}")

    def _uri(self, place: Place) -> str | None:
        objects = self.lake._objects
        if place.uri is None or objects is None:
            return None
        uri = objects.uri(place.uri)
        return uri if place.position is None else f"{uri}#{place.position}"

    def get_entry(self, key: str) -> Entry | None:
        """The entry of a key; None if it is not there."""
        return self.lake.entry(key)

    def list_entries(
        self,
        prefix: str = "",
        metadata_filter: dict[str, Any] | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """The entries whose key begins with `prefix` and whose metadata match, in key order."""
        return list(self.lake.list(prefix, metadata_filter=metadata_filter, limit=limit))

    def delete_entry(self, key: str) -> bool:
        """Delete an entry; whether it was there."""
        return self.lake.delete(key)

    def get_changed_entries(self, since_snapshot_id: str | None = None) -> list[Changed]:
        """What has changed since a snapshot, by its id or name, deletions included; without one,
        all entries as added. In key order."""
        if since_snapshot_id is None:
            return [Changed("added", entry) for entry in self.lake.list()]
        diff = self.lake.diff(since_snapshot_id)
        changes = [
            *(Changed("added", entry) for entry in diff.added),
            *(Changed("changed", change.after) for change in diff.changed),
            *(Changed("removed", entry) for entry in diff.removed),
        ]
        return sorted(changes, key=lambda change: change.key.encode())

    def create_snapshot(self, name: str) -> Snapshot:
        """Keep the present state under a name; ConflictError if it is taken."""
        return self.lake.create_snapshot(name)

    def store_batch(self, entries: Iterable[Mapping[str, Any]]) -> BatchReport:
        """Store many values, all or none; as `Lake.store_batch`."""
        return self.lake.store_batch(entries)

    def retrieve_batch(self, keys: Sequence[str]) -> Retrieved:
        """The values of many keys; as `Lake.retrieve_batch`."""
        return self.lake.retrieve_batch(keys)

    def cleanup_expired(self, batch_size: int = 1000) -> CleanupReport:
        """Remove the entries that have expired, `batch_size` in a transaction."""
        return self.lake.cleanup_expired(batch_size)

    def health_check(self) -> datetime:
        """The catalog's time, by asking it; ConnectError if it does not answer."""
        return from_micros(self.lake._catalog.now())

    def close(self) -> None:
        """Close the catalog; calls after it raise."""
        self.lake.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self.lake)

    def __enter__(self) -> CatalogBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _inlined(content_hash: bytes, storage_uri: str | None, byte_size: int, data: bytes) -> Content:
    if storage_uri is not None:
        raise ValidationError("storage_uri and inlined_value are both given: expected one of them")
    if not isinstance(data, bytes):
        raise ValidationError(f"inlined_value is of type {type(data).__name__}: expected bytes")
    if digest(data) != content_hash:
        raise ValidationError(
            f"inlined_value has the hash sha256:{digest(data).hex()}, not the content_hash"
        )
    if byte_size != len(data):
        raise ValidationError(f"byte_size is {byte_size}: inlined_value has {len(data)} bytes")
    return Content(content_hash, "bytes", len(data), data)
