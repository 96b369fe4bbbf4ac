"""The records that the layers pass to each other, and those that callers get."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol

from lakebed.clock import from_micros
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


ContentId = tuple[bytes, str]
"""What identifies a content: the hash of its bytes, and the format that says what they mean. The
JSON of the text "a" and the same three bytes stored as bytes have one hash, but are two values."""


class Content(NamedTuple):
    """An object on its way into the catalog.

    If it has neither `inline_value` nor `uri`, the catalog must know it already.
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
    """Store a whole entry. `ttl` is in microseconds from the commit, `expires_at` in microseconds
    since the epoch."""

    key: str
    content: Content
    metadata: str
    ttl: int | None = None
    expires_at: int | None = None
    if_absent: bool = False
    if_match: bytes | None = None


class Delete(NamedTuple):
    """Delete an entry if it exists."""

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
    """One step of a collection: the number of removed objects, their stored bytes, and where to
    continue (None at the end)."""

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
    """An object on its way into a pack, from inline (`old_pack` is None) or from another pack. The
    number alone does not identify it, because SQLite reuses the numbers of removed objects."""

    id: int
    content_hash: bytes
    old_pack: int | None
    position: str


class Purged(NamedTuple):
    """One step of a purge: the number of removed entries and kept versions, the hashes and bytes of
    the contents that nothing refers to any more, the packs that held them, and the snapshots that
    saw them."""

    entries: int
    versions: int
    hashes: Sequence[bytes]
    byte_size: int
    packs: Sequence[PackRow]
    snapshots: Sequence[str]


class PurgePreview(NamedTuple):
    """What a purge would remove: the number of entries and kept versions, the bytes of the contents
    that nothing else refers to, the number of their files and packs, and the snapshots that see
    them."""

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


class Record(Mapping[str, object]):
    """A frozen result that can also be read as a mapping of its fields."""

    __slots__ = ()
    FIELDS: ClassVar[tuple[str, ...]] = ()

    def __getitem__(self, name: str) -> object:
        if name not in self.FIELDS:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.FIELDS)

    def __len__(self) -> int:
        return len(self.FIELDS)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.FIELDS)
        return f"{type(self).__name__}({shown})"

    def _repr_html_(self) -> str:
        from lakebed.values.html import fields

        return fields(type(self).__name__, ((name, getattr(self, name)) for name in self.FIELDS))

    # Equality compares fields. Some records hold a dict, so none is hashable.
    __hash__ = None  # type: ignore[assignment]


class Report(Record):
    """A record whose fields are the annotations of its class."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.FIELDS = tuple(name for name in cls.__annotations__ if name != "FIELDS")

    def __init__(self, **fields: object) -> None:
        for name in self.FIELDS:
            object.__setattr__(self, name, fields.pop(name))
        assert not fields, fields

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")


class ValueReader(Protocol):
    """What an entry needs from its lake, to show where its value is and to read it."""

    def read_value(self, row: EntryRow) -> Any: ...

    def full_uri(self, uri: str | None, position: str | None) -> str | None: ...


UNREAD: Final = object()
"""What an entry has in place of a value that it has not read."""


class Entry(Record):
    """A name in the lake, as one read or one store saw it. It can also be read as a mapping.

    | field | type | |
    | --- | --- | --- |
    | `key` | str | |
    | `version` | int | a new one with every change |
    | `content_hash` | str | `sha256:` and 64 hexadecimal digits, of the stored bytes |
    | `format` | str | `json`, `bytes` or `parquet` |
    | `byte_size` | int | the stored size in bytes |
    | `inlined` | bool | whether the value is in the catalog |
    | `storage_uri` | str or None | the full URI, with `#…` for a place in a pack; None if inline |
    | `metadata` | dict | |
    | `expires_at` | datetime or None | UTC |
    | `created_at`, `updated_at` | datetime | UTC |

    `value` is the value itself. An inline value is already there; others are read from the lake
    when you first ask for them, and raise what `retrieve` raises.
    """

    __slots__ = ("_lake", "_row", "_value")
    FIELDS: ClassVar[tuple[str, ...]] = (
        "key",
        "version",
        "content_hash",
        "format",
        "byte_size",
        "inlined",
        "storage_uri",
        "metadata",
        "expires_at",
        "created_at",
        "updated_at",
    )

    def __init__(self, row: EntryRow, lake: ValueReader) -> None:
        self._row = row
        self._lake = lake
        self._value = UNREAD

    @property
    def key(self) -> str:
        return self._row.key

    @property
    def version(self) -> int:
        return self._row.version

    @property
    def content_hash(self) -> str:
        return self._row.hash_text()

    @property
    def format(self) -> str:
        return self._row.format

    @property
    def byte_size(self) -> int:
        return self._row.byte_size

    @property
    def inlined(self) -> bool:
        return self._row.inline_value is not None

    @property
    def storage_uri(self) -> str | None:
        return self._lake.full_uri(self._row.uri, self._row.position)

    @property
    def metadata(self) -> dict[str, Any]:
        return self._row.metadata_dict()

    @property
    def expires_at(self) -> datetime | None:
        return None if self._row.expires_at is None else from_micros(self._row.expires_at)

    @property
    def created_at(self) -> datetime:
        return from_micros(self._row.created_at)

    @property
    def updated_at(self) -> datetime:
        return from_micros(self._row.updated_at)

    @property
    def value(self) -> Any:
        if self._value is UNREAD:
            self._value = self._lake.read_value(self._row)
        return self._value


class StoredEntry(Entry):
    """What `store` returns: the entry, and what the store did.

    `created`: the key did not exist before. `changed`: the entry got a new version, because its
    content, metadata or expiry changed. `deduplicated`: the lake already had the content.
    """

    __slots__ = ("_outcome",)
    FIELDS: ClassVar[tuple[str, ...]] = (*Entry.FIELDS, "created", "changed", "deduplicated")

    def __init__(self, outcome: Outcome, lake: ValueReader) -> None:
        assert outcome.row is not None
        super().__init__(outcome.row, lake)
        self._outcome = outcome

    @property
    def created(self) -> bool:
        return self._outcome.created

    @property
    def changed(self) -> bool:
        return self._outcome.changed

    @property
    def deduplicated(self) -> bool:
        return self._outcome.deduplicated


Progress = Callable[[int, int | None], object]
"""Called with the number done and the total (None if unknown)."""
