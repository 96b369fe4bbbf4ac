"""A catalog without a lake, for programs that write the contents themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lakebed.clock import from_micros
from lakebed.lake.checks import check_expiry, check_key
from lakebed.lake.entries.batch_reading import Retrieved
from lakebed.lake.entries.batch_report import BatchReport
from lakebed.lake.history.snapshot import Snapshot
from lakebed.lake.lake import Lake
from lakebed.lake.tracking import TrackingBatch, content_of
from lakebed.lake.upkeep.maintenance import CleanupReport
from lakebed.model import Put
from lakebed.records import Entry, Record, StoredEntry
from lakebed.values.codec import encode_metadata


class Changed(Record):
    """A key that differs. `change` is `added`, `changed` or `removed`. `entry` is the present
    entry, or for a removed key, the entry before."""

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
        self.lake._must_write("track_entry")
        content = content_of(self.lake, content_hash, storage_uri, byte_size, inlined_value)
        _, absolute = check_expiry(None, expires_at)
        put = Put(check_key(key), content, encode_metadata(metadata), None, absolute)
        (outcome,) = self.lake._catalog.commit((put,))
        return StoredEntry(outcome, self.lake)

    def get_entry(self, key: str) -> Entry | None:
        """Return the entry of a key, or None if it does not exist.

        Raises ValidationError for an invalid key.
        """
        return self.lake.entry(key)

    def list_entries(
        self,
        prefix: str | None = None,
        metadata_filter: dict[str, Any] | None = None,
        limit: int | None = None,
    ) -> list[Entry]:
        """Return the entries in key order whose keys begin with `prefix` and whose metadata match.

        Raises ValidationError for a malformed filter.
        """
        return list(self.lake.list(prefix or "", metadata_filter=metadata_filter, limit=limit))

    def delete_entry(self, key: str) -> bool:
        """Delete an entry. Returns whether it existed."""
        return self.lake.delete(key)

    def get_changed_entries(self, since_snapshot_id: str | None = None) -> list[Changed]:
        """Return what has changed since a snapshot (an id or a name), in key order, deletions
        included. Without a snapshot, all entries count as added.

        Raises NotFoundError if the snapshot does not exist.
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

    def store_batch(self, entries: Iterable[Mapping[str, Any]], atomic: bool = True) -> BatchReport:
        """Store many entries, as `Lake.store_batch` does: all or none, unless `atomic` is False.

        Instead of a `value`, an entry may have a `content_hash`: it then refers to content that the
        catalog already has, or to its `inlined_value`. `storage_uri` and `byte_size` are as for
        `track_entry`, and may be left out.
        """
        return self.lake._run_batch(TrackingBatch(self.lake, atomic, None), entries, atomic)

    def retrieve_batch(self, keys: Sequence[str]) -> Retrieved:
        """Return the values of many keys, as `Lake.retrieve_batch` does."""
        return self.lake.retrieve_batch(keys)

    def cleanup_expired(self, batch_size: int = 100) -> CleanupReport:
        """Remove expired entries, `batch_size` in each transaction."""
        return self.lake.cleanup_expired(batch_size)

    def health_check(self) -> datetime:
        """Return the catalog's time. Raises ConnectError if the catalog does not answer."""
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
