"""Entries that name their content by its hash. The content is checked against the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lakebed.catalog.protocol import Place, StagedRow
from lakebed.errors import NotFoundError, ValidationError
from lakebed.lake.checks import check_expiry, check_key
from lakebed.lake.entries.batch_run import Batch
from lakebed.lake.entries.writing import Writing
from lakebed.model import Content
from lakebed.values.codec import encode_metadata
from lakebed.values.encoded import Encoded, EncodedFile
from lakebed.values.hash import digest, parse_content_hash

_FORMATS = ("json", "bytes", "parquet")
_FIELDS = frozenset(
    {
        "key", "content_hash", "storage_uri", "byte_size", "inlined_value", "metadata", "ttl",
        "expires_at",
    }
)  # fmt: skip
ANYWHERE = object()
"""Stands for a `storage_uri` that was not given."""


def content_of(
    lake: Writing,
    content_hash: str,
    storage_uri: object,
    byte_size: int | None,
    inlined_value: bytes | None,
) -> Content:
    """Return the content with a hash: `inlined_value`, or the content that the catalog holds (at
    `storage_uri`, if that is given).

    Raises NotFoundError if the catalog does not have the content, or not there; ValidationError if
    `inlined_value` has another hash or size.
    """
    wanted = parse_content_hash(content_hash, "content_hash")
    if inlined_value is not None:
        return _inlined(wanted, storage_uri, byte_size, inlined_value)
    catalog = lake._catalog
    known = catalog.known([(wanted, format) for format in _FORMATS])
    for found in sorted(known):
        place = catalog.locate(found)
        if place is None:
            continue
        if storage_uri is ANYWHERE or _uri(lake, place) == storage_uri:
            return Content(*found, byte_size or 0)
    shown = f"sha256:{wanted.hex()}"
    if not known:
        raise NotFoundError(f"the catalog holds no content with the hash {shown}")
    raise NotFoundError(f"the content {shown} is not stored in {storage_uri or 'the catalog'}")


def _uri(lake: Writing, place: Place) -> str | None:
    return lake.full_uri(place.uri, place.position)


def _inlined(
    content_hash: bytes, storage_uri: object, byte_size: int | None, data: bytes
) -> Content:
    if storage_uri is not ANYWHERE and storage_uri is not None:
        raise ValidationError("storage_uri and inlined_value cannot be combined: give one of them")
    if not isinstance(data, bytes):
        raise ValidationError(f"inlined_value must be bytes, got {type(data).__name__}")
    if digest(data) != content_hash:
        raise ValidationError(
            f"inlined_value must have the hash in content_hash, got sha256:{digest(data).hex()}"
        )
    if byte_size is not None and byte_size != len(data):
        raise ValidationError(
            f"byte_size must be the size of inlined_value, {len(data)}, got {byte_size}"
        )
    return Content(content_hash, "bytes", len(data), data)


class TrackingBatch(Batch):
    """A batch whose entries may have a `content_hash` instead of a `value`."""

    def _check(self, entry: Mapping[str, Any]) -> tuple[StagedRow, Encoded | EncodedFile | None]:
        if not isinstance(entry, Mapping) or "content_hash" not in entry:
            return super()._check(entry)
        if not _FIELDS.issuperset(entry):
            unknown = min(str(name) for name in entry if name not in _FIELDS)
            raise ValidationError(
                f"an entry with a content_hash has the unknown field {unknown!r}: expected "
                f"{', '.join(sorted(_FIELDS))}"
            )
        content = content_of(
            self._lake,
            entry["content_hash"],
            entry.get("storage_uri", ANYWHERE),
            entry.get("byte_size"),
            entry.get("inlined_value"),
        )
        key, metadata = check_key(entry.get("key")), encode_metadata(entry.get("metadata"))
        row = StagedRow(
            key, content.content_hash, content.format, content.byte_size, content.inline_value,
            None, None, metadata, *check_expiry(entry.get("ttl"), entry.get("expires_at")),
        )  # fmt: skip
        return row, None
