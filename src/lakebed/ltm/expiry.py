"""The expiry that metadata ask for: `ttl` in seconds, or `expires_at`, which wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lakebed.errors import LakebedError, ValidationError
from lakebed.lake.checks import TTL, check_expiry


def expiry_of(
    metadata: object, ttl: TTL | None, expires_at: datetime | str | None
) -> tuple[TTL | None, datetime | None]:
    """The expiry that a call asks for: by its arguments, or else by its metadata."""
    if ttl is None and expires_at is None:
        return expiry(metadata)
    if isinstance(expires_at, str):
        return ttl, _moment(expires_at, "expires_at")
    return ttl, expires_at


def expiry(metadata: object) -> tuple[TTL | None, datetime | None]:
    """`ttl` and `expires_at` for `Lake.store`; None where metadata name none.

    Raises ValidationError for one that is not valid, also for a ttl beside a valid expires_at.
    """
    if not metadata or not isinstance(metadata, Mapping):
        return None, None
    ttl, text = metadata.get("ttl"), metadata.get("expires_at")
    if ttl is not None:
        check_expiry(ttl, None)
    if text is None:
        return ttl, None
    if not isinstance(text, str):
        raise ValidationError(f"metadata.expires_at is of type {type(text).__name__}: {_EXPECTED}")
    return None, _moment(text, "metadata.expires_at")


def _moment(text: str, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValidationError(f"{field} is {text!r}: {_EXPECTED}") from None
    if moment.utcoffset() is None:
        raise ValidationError(f"{field} is {text!r}, without offset: {_EXPECTED}")
    return moment


_EXPECTED = "expected ISO 8601 with offset, such as '2030-01-31T12:00:00+00:00'"


class Expiring:
    """Entries of a batch, as they pass to the lake, with the expiry that their metadata ask for.

    `errors`: why an entry's expiry is not valid, by key. The lake refuses such an entry as well,
    since it gets a ttl that no entry can have; the reason is to be taken from here.
    """

    def __init__(self, entries: Iterable[Mapping[str, Any]]) -> None:
        self.errors: dict[str, LakebedError] = {}
        self._entries = entries

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(self._with_expiry, self._entries)

    def _with_expiry(self, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(entry, Mapping) or "ttl" in entry or "expires_at" in entry:
            return entry
        try:
            ttl, expires_at = expiry(entry.get("metadata"))
        except ValidationError as error:
            self.errors.setdefault(str(entry.get("key")), error)
            return {**entry, "ttl": 0}
        if ttl is None and expires_at is None:
            return entry
        return {**entry, "ttl": ttl, "expires_at": expires_at}
