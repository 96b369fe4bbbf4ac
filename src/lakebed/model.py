"""The records that pass between the layers, and those that callers see."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from lakebed.clock import from_micros
from lakebed.values.json import decode_text

LAST_KEY = "\U0010ffff" * 257
"""Greater than every key (a key has at most 1,024 bytes, this has 1,028)."""


class EntryRow(NamedTuple):
    """One entry as a catalog returns it: the name, and the object that it refers to.

    Times are microseconds since the epoch. An object has either `inline_value` or `uri`; in a pack
    `position` tells its place there.
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
        """The metadata, decoded anew."""
        text = self.metadata
        metadata: dict[str, Any] = {} if text == "{}" else decode_text(text)
        return metadata


ContentId = tuple[bytes, str]
"""What makes a content: the hash of its bytes, and the format that says what they mean. The text
"a" as JSON and the three bytes of it as bytes have one hash and are two values."""


class Content(NamedTuple):
    """An object on its way into the catalog.

    With neither `inline_value` nor `uri` it must be known to the catalog already.
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
    """Store an entry whole. `ttl` is in microseconds from the commit; `expires_at` absolute."""

    key: str
    content: Content
    metadata: str
    ttl: int | None = None
    expires_at: int | None = None
    if_absent: bool = False
    if_match: bytes | None = None


class Delete(NamedTuple):
    """Delete an entry if it is there."""

    key: str
    if_match: bytes | None = None


Change = Put | Delete


class Upload(NamedTuple):
    """A file that was uploaded under a lease and that a commit claims.

    `objects` counts the objects inside a pack, and is None for a file that is one object.
    """

    uri: str
    byte_size: int
    objects: int | None = None


class Moment(NamedTuple):
    """A state of the catalog: entries as of `version`, expiry judged at `time` (microseconds).

    `snapshot` is the id of the snapshot that keeps it, None if only the history does.
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
        """The state that it keeps."""
        return Moment(self.version, self.created_at, self.id)


class DiffRow(NamedTuple):
    """A key that differs between two moments; None where it is not there."""

    before: EntryRow | None
    after: EntryRow | None


class VersionRow(NamedTuple):
    """A version of an entry, and what ended it; None for the one that stands."""

    row: EntryRow
    end_version: int | None
    ended_at: int | None


class Collected(NamedTuple):
    """A step of a collection: objects removed, their bytes as stored, and where to go on (None at
    the end)."""

    objects: int
    byte_size: int
    after: int | None


class ObjectRow(NamedTuple):
    """An object and where it lies: inline, in a file of its own, or at a position in a pack."""

    id: int
    content_hash: bytes
    format: str
    byte_size: int
    inline_value: bytes | None
    uri: str | None
    position: str | None


class PackRow(NamedTuple):
    """A pack, and how many objects live in it and are dead."""

    id: int
    uri: str
    byte_size: int
    live: int
    dead: int


class Move(NamedTuple):
    """An object on its way into a pack: from inline (`old_pack` None) or from another pack. Its
    number alone does not say which it is: SQLite gives that of an object that is gone again."""

    id: int
    content_hash: bytes
    old_pack: int | None
    position: str


class Purged(NamedTuple):
    """A step of a purge: entries and kept versions removed, hashes and bytes of the contents that
    nothing holds any more, the packs that they lay in, and the snapshots that saw them."""

    entries: int
    versions: int
    hashes: Sequence[bytes]
    byte_size: int
    packs: Sequence[PackRow]
    snapshots: Sequence[str]


class PurgePreview(NamedTuple):
    """What a purge would remove: entries, kept versions, bytes of contents that nothing else holds,
    the files of these and the packs that they lie in, and the snapshots that see them."""

    entries: int
    versions: int
    byte_size: int
    files: int
    packs: int
    snapshots: Sequence[str]


class BrokenReference(NamedTuple):
    """A reference between rows that does not hold: its kind, and the key, path under the storage or
    number of the row that it concerns."""

    kind: Literal["no object", "trash in use", "lease in use", "miscounted pack", "unnoted"]
    key: str | None
    uri: str | None
    number: int | None


class Naming(NamedTuple):
    """A key that an object stands under: since `version`, until `end_version` (None: still)."""

    key: str
    version: int
    end_version: int | None


class Outcome(NamedTuple):
    """What a commit did with one change. `row` is the entry as it is now, None after a delete."""

    row: EntryRow | None
    created: bool
    changed: bool
    deduplicated: bool


class Record(Mapping[str, object]):
    """A frozen result that is also readable as a mapping of its fields."""

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

    # By identity of fields; a record holding a dict is not hashable, and none pretends to be.
    __hash__ = None  # type: ignore[assignment]


class Report(Record):
    """A record whose fields are its annotations."""

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
    """What an entry needs of its lake to show where its value is and to read it."""

    def read_value(self, row: EntryRow) -> Any: ...

    def full_uri(self, uri: str | None, position: str | None) -> str | None: ...


_UNREAD = object()


class Entry(Record):
    """A name in the lake, as one read or one store saw it.

    | field | type | |
    | --- | --- | --- |
    | `key` | str | |
    | `version` | int | drawn anew by every change |
    | `content_hash` | str | `sha256:` and 64 hexadecimal digits, over the stored bytes |
    | `format` | str | `json`, `bytes` or `parquet` |
    | `byte_size` | int | stored size in bytes |
    | `inlined` | bool | the value lies in the catalog |
    | `storage_uri` | str or None | full URI, with `#…` for a place in a pack; None if inline |
    | `metadata` | dict | |
    | `expires_at` | datetime or None | UTC |
    | `created_at`, `updated_at` | datetime | UTC |

    `value` is the value itself: at hand when inline, read from the lake when first asked for
    otherwise (raises as `retrieve` does).
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
        self._value = _UNREAD

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
        if self._value is _UNREAD:
            self._value = self._lake.read_value(self._row)
        return self._value


class StoredEntry(Entry):
    """What `store` returns: the entry, and what the store did.

    `created`: the key was not there before. `changed`: a new version was drawn, because content,
    metadata or expiry differ. `deduplicated`: the content was in the lake already.
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


Progress = Callable[[int, int | None], None]
"""Called with what is done and what there is in all (None if unknown)."""
