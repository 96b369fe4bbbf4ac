"""The records that callers get: with attributes, as mappings, and as HTML in a notebook."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Final, Protocol

from lakebed.clock import from_micros
from lakebed.model import EntryRow, Outcome


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
    """What an entry needs from its lake, to read its value and to show where it is."""

    def read_value(self, row: EntryRow) -> Any: ...

    def count_rows(self, row: EntryRow) -> int | None: ...

    def full_uri(self, uri: str | None, position: str | None) -> str | None: ...


UNREAD: Final = object()
"""Stands for a value that was not read yet."""


class Entry(Record):
    """A name in the lake, as one read or one store saw it. It can also be read as a mapping.

    | field | type | |
    | --- | --- | --- |
    | `key` | str | |
    | `version` | int | every change gives a new one |
    | `content_hash` | str | `sha256:` and 64 hexadecimal digits, of the stored bytes |
    | `format` | str | `json`, `bytes`, `parquet`, or `table` for a table of parts |
    | `byte_size` | int | the stored size in bytes; of a table of parts, that of their list |
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
    def rows(self) -> int | None:
        """The number of rows of a table, or None if the value is not a table. For a table in the
        storage, each call reads the end of its file."""
        return self._lake.count_rows(self._row)

    @property
    def value(self) -> Any:
        """The value of this version, read once.

        Raises NotFoundError if the entry has been replaced or deleted since, and its content
        collected; CorruptionError if the stored bytes are missing or damaged; and StorageError if
        the storage fails.
        """
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
