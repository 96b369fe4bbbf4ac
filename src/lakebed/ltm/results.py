"""What the calls of the LTM interface return when they succeed."""

from __future__ import annotations

from lakebed.model import EntryRow
from lakebed.records import Entry, StoredEntry
from lakebed.reporting import Result


def stored(entry: StoredEntry) -> Result:
    """Return the result of a store."""
    changed, inlined = entry.changed, entry.inlined
    result = {
        "success": True,
        "stored": changed,
        "key": entry.key,
        "created": entry.created,
        "content_hash": entry.content_hash,
        "inlined": inlined,
        "byte_size": entry.byte_size,
        "deduplicated": entry.deduplicated or not changed,
    }
    if not inlined:
        result["storage_uri"] = entry.storage_uri
    return result


def listed(entry: Entry) -> Result:
    """Return an entry of a listing, without its value."""
    return {
        "key": entry.key,
        "metadata": entry.metadata,
        "content_hash": entry.content_hash,
        "format": entry.format,
        "byte_size": entry.byte_size,
        "inlined": entry.inlined,
        "created_at": entry.created_at.isoformat(),
        "updated_at": entry.updated_at.isoformat(),
        "expires_at": None if entry.expires_at is None else entry.expires_at.isoformat(),
    }


def found(row: EntryRow, value: object) -> Result:
    """Return the result of reading an entry."""
    return {
        "success": True,
        "value": value,
        "found": True,
        "metadata": row.metadata_dict(),
        "content_hash": row.hash_text(),
        "inlined": row.inline_value is not None,
    }


def not_found(default: object) -> Result:
    """Return the result of reading a missing key, which is a success too."""
    return {
        "success": True,
        "value": default,
        "found": False,
        "metadata": None,
        "content_hash": None,
        "inlined": None,
    }
