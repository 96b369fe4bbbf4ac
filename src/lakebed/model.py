"""The rows and changes that the layers pass to each other."""

# No `from __future__ import annotations`: a NamedTuple compiles annotations that are text, at each
# start.

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Literal, NamedTuple

from lakebed.values.json import decode_text

LAST_KEY = "\U0010ffff" * 257
"""Greater than every key: a key has at most 1,024 bytes, this text has 1,028."""


class EntryRow(NamedTuple):
    """One entry as a catalog returns it: the name, and the object that it refers to.

    Times are in microseconds since the epoch. An object has either `inline_value` or `uri`. If it
    is in a pack, `position` is its place there.
    """

    key: str
    version: int
    metadata: str
    expires_at: int | None
    created_at: int
    updated_at: int
    content_hash: bytes
    format: str
    byte_size: int
    inline_value: bytes | None
    uri: str | None
    position: str | None

    def hash_text(self) -> str:
        """The content hash as it is shown: `sha256:` and 64 hexadecimal digits."""
        return f"sha256:{self.content_hash.hex()}"

    def metadata_dict(self) -> dict[str, Any]:
        """The metadata, decoded again by each call."""
        text = self.metadata
        metadata: dict[str, Any] = {} if text == "{}" else decode_text(text)
        return metadata


def entry_rows(rows: Iterable[Sequence[Any]]) -> list[EntryRow]:
    """Return the rows of a query as EntryRow, in a third of the time that `_make` takes."""
    return list(map(_new_row, repeat(EntryRow), rows))


_new_row: Callable[[type[EntryRow], Sequence[Any]], EntryRow] = tuple.__new__

ContentId = tuple[bytes, str]
"""Identifies a content: the hash of its bytes, and its format. The format is needed, because the
text "a" as JSON and the same three bytes stored as bytes have one hash, but are two values."""


class Content(NamedTuple):
    """An object on its way into the catalog.

    If it has neither `inline_value` nor `uri`, the catalog must know the object already.
    """

    content_hash: bytes
    format: str
    byte_size: int
    inline_value: bytes | None = None
    uri: str | None = None
    position: str | None = None

    @property
    def id(self) -> ContentId:
        return self.content_hash, self.format


class Put(NamedTuple):
    """Store a whole entry.

    `ttl`: microseconds from the commit until the entry expires.
    `expires_at`: the time of expiry, in microseconds since the epoch.
    `if_absent`, `if_match`: store only if the key does not exist, or has this content hash.
    `keep_expiry`: an existing entry keeps its expiry; with `keep_metadata`, its metadata too.
    `parts`: for a table of parts, each part that the content lists, once. The catalog must know the
    parts that have no bytes.
    `times`: `created_at` and `updated_at` of a copied entry, in microseconds since the epoch. If
    `updated_at` is None, it is the time of the commit.
    """

    key: str
    content: Content
    metadata: str
    ttl: int | None = None
    expires_at: int | None = None
    if_absent: bool = False
    if_match: bytes | None = None
    keep_expiry: bool = False
    keep_metadata: bool = False
    parts: Sequence[Content] = ()
    times: tuple[int, int | None] | None = None


class Delete(NamedTuple):
    """Delete an entry if it exists. `if_match`: only if it has this content hash."""

    key: str
    if_match: bytes | None = None


Change = Put | Delete


class Upload(NamedTuple):
    """A file that was uploaded under a lease, to be claimed by a commit.

    `objects` is the number of objects in a pack, or None if the file is a single object.
    """

    uri: str
    byte_size: int
    objects: int | None = None


class Moment(NamedTuple):
    """A state of the catalog: the entries as of `version`, with expiry judged at `time`
    (microseconds since the epoch).

    `snapshot` is the id of the snapshot that keeps this state, or None if only the history does.
    """

    version: int
    time: int
    snapshot: str | None = None


class SnapshotRow(NamedTuple):
    """A snapshot as a catalog returns it."""

    id: str
    name: str
    version: int
    message: str | None
    author: str | None
    created_at: int
    purged_at: int | None = None

    def moment(self) -> Moment:
        """The state that this snapshot keeps."""
        return Moment(self.version, self.created_at, self.id)


class DiffRow(NamedTuple):
    """A key that differs between two moments. A side is None if the key does not exist there."""

    before: EntryRow | None
    after: EntryRow | None


class VersionRow(NamedTuple):
    """A version of an entry, and the version and time that ended it. Both are None for the current
    version."""

    row: EntryRow
    end_version: int | None
    ended_at: int | None


class Collected(NamedTuple):
    """One step of a collection: the number of removed objects, their size in bytes, and the id to
    continue after (None at the end)."""

    objects: int
    byte_size: int
    after: int | None


class ObjectRow(NamedTuple):
    """An object and its place: inline, in a file of its own, or at a position in a pack."""

    id: int
    content_hash: bytes
    format: str
    byte_size: int
    inline_value: bytes | None
    uri: str | None
    position: str | None


class PackRow(NamedTuple):
    """A pack, and how many of its objects are live and dead."""

    id: int
    uri: str
    byte_size: int
    live: int
    dead: int


class Move(NamedTuple):
    """An object on its way into a pack. `old_pack` is the pack that it leaves, or None if it was
    inline. `id` alone does not identify it, because SQLite reuses the ids of removed objects."""

    id: int
    content_hash: bytes
    old_pack: int | None
    position: str


class Purged(NamedTuple):
    """One step of a purge: the number of removed entries and kept versions, the hashes and the
    total size in bytes of the contents that nothing refers to any more, the packs that held them,
    and the snapshots that saw them."""

    entries: int
    versions: int
    hashes: Sequence[bytes]
    byte_size: int
    packs: Sequence[PackRow]
    snapshots: Sequence[str]


class PurgePreview(NamedTuple):
    """What a purge would remove: the number of entries and kept versions, the size in bytes of the
    contents that nothing else refers to, the number of their files and packs, and the snapshots
    that see them."""

    entries: int
    versions: int
    byte_size: int
    files: int
    packs: int
    snapshots: Sequence[str]


class BrokenReference(NamedTuple):
    """A broken reference between rows: its kind, and the key, the path in the storage or the number
    of the row that it concerns."""

    kind: Literal["no object", "trash in use", "lease in use", "miscounted pack", "unnoted"]
    key: str | None
    uri: str | None
    number: int | None


class Naming(NamedTuple):
    """A key that refers to an object, since `version` and until `end_version` (None: it still
    does)."""

    key: str
    version: int
    end_version: int | None


class Outcome(NamedTuple):
    """What a commit did with one change. `row` is the entry as it is now; None after a delete."""

    row: EntryRow | None
    created: bool
    changed: bool
    deduplicated: bool


Progress = Callable[[int, int | None], object]
"""Called with the number done and the total (None if unknown)."""
