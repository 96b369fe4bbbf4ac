"""A catalog without a lake around it, for programs that write contents themselves."""

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
    """Open a catalog by its type: `sqlite`, `postgres`, or a registered one.

    `options` are the options of the catalog; `url`, `connection_string` and `path` mean the same.
    `storage` is what `lakebed.open` takes.

    Raises ConfigurationError for an unknown type or option, DependencyMissingError (with the pip
    command) if the driver is not installed, and ConnectError if the server cannot be reached.
    """
    return CatalogBackend(open_lake(catalog={"type": type, **options}, storage=storage))


class Changed(Record):
    """A key that differs. `change` is `added`, `changed` or `removed`. `entry` is the entry as it
    is now, or, if it was removed, as it was before."""

    __slots__ = ("change", "entry", "key")
    FIELDS = ("key", "change", "entry")

    def __init__(self, change: str, entry: Entry) -> None:
        self.key = entry.key
        self.change = change
        self.entry = entry


class CatalogBackend:
    """The calls of a catalog. All results can be read as mappings."""

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
        """Make a key refer to content that the catalog already has, or to `inlined_value`.

        `content_hash`: `sha256:` and 64 hexadecimal digits. `storage_uri`: where the content is
        stored, as an entry shows it; None if it is inline. `byte_size`: the number of stored bytes.
        `expires_at`: an aware datetime.

        Raises NotFoundError if the catalog has no content with that hash, or not at that URI, and
        ValidationError if `inlined_value` has another hash or size.
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
        """The content that the catalog holds at that place."""
        catalog = self.lake._catalog
        known = catalog.known([(content_hash, format) for format in _FORMATS])
        for found in sorted(known):
            place = catalog.locate(found)
            if place is not None and self._uri(place) == storage_uri:
                return Content(*found, byte_size)
        shown = f"sha256:{content_hash.hex()}"
        if not known:
            raise NotFoundError(f"the catalog holds no content with the hash {shown}")
        raise NotFoundError(f"the content {shown} is not stored in {storage_uri or 'the catalog'}")

    def _uri(self, place: Place) -> str | None:
        objects = self.lake._objects
        if place.uri is None or objects is None:
            return None
        uri = objects.uri(place.uri)
        return uri if place.position is None else f"{uri}#{place.position}"

    def get_entry(self, key: str) -> Entry | None:
        """Return the entry of a key, or None if it does not exist.

        Raises ValidationError for an invalid key.
        """
        return self.lake.entry(key)

    def list_entries(
        self,
        prefix: str = "",
        metadata_filter: dict[str, Any] | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Return the entries whose key begins with `prefix` and whose metadata match, in key order.

        Raises ValidationError for a malformed filter.
        """
        return list(self.lake.list(prefix, metadata_filter=metadata_filter, limit=limit))

    def delete_entry(self, key: str) -> bool:
        """Delete an entry. Returns whether it existed."""
        return self.lake.delete(key)

    def get_changed_entries(self, since_snapshot_id: str | None = None) -> list[Changed]:
        """Return what has changed since a snapshot (an id or a name), deletions included, in key
        order. Without a snapshot, all entries count as added.

        Raises NotFoundError if there is no such snapshot.
        """
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
        """Keep the present state under a name. Raises ConflictError if the name is taken."""
        return self.lake.create_snapshot(name)

    def store_batch(self, entries: Iterable[Mapping[str, Any]]) -> BatchReport:
        """Store many values, all or none, as `Lake.store_batch` does."""
        return self.lake.store_batch(entries)

    def retrieve_batch(self, keys: Sequence[str]) -> Retrieved:
        """Return the values of many keys, as `Lake.retrieve_batch` does."""
        return self.lake.retrieve_batch(keys)

    def cleanup_expired(self, batch_size: int = 1000) -> CleanupReport:
        """Remove expired entries, `batch_size` in each transaction."""
        return self.lake.cleanup_expired(batch_size)

    def health_check(self) -> datetime:
        """Ask the catalog for its time. Raises ConnectError if it does not answer."""
        return from_micros(self.lake._catalog.now())

    def close(self) -> None:
        """Close the catalog. Later calls raise CatalogError."""
        self.lake.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self.lake)

    def __enter__(self) -> CatalogBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _inlined(content_hash: bytes, storage_uri: str | None, byte_size: int, data: bytes) -> Content:
    if storage_uri is not None:
        raise ValidationError("storage_uri and inlined_value cannot be combined: give one of them")
    if not isinstance(data, bytes):
        raise ValidationError(f"inlined_value must be bytes, got {type(data).__name__}")
    if digest(data) != content_hash:
        raise ValidationError(
            f"inlined_value must have the hash in content_hash, got sha256:{digest(data).hex()}"
        )
    if byte_size != len(data):
        raise ValidationError(
            f"byte_size must be the size of inlined_value, {len(data)}, got {byte_size}"
        )
    return Content(content_hash, "bytes", len(data), data)
