"""The expiry in an entry's metadata: `ttl` or `expires_at`. `expires_at` wins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lakebed.errors import LakebedError, ValidationError
from lakebed.lake.checks import TTL, check_expiry


def expiry_of(
    metadata: object, ttl: TTL | None, expires_at: datetime | str | None, *, keep: bool = False
) -> tuple[TTL | None, datetime | None]:
    """Return `ttl` and `expires_at` for `Lake.store`: those of the arguments, else of the metadata.

    `keep`: the entry keeps its expiry, so the metadata are not asked.
    """
    if ttl is None and expires_at is None:
        if keep:
            return None, None
        return expiry(metadata)
    if isinstance(expires_at, str):
        return ttl, _moment(expires_at, "expires_at")
    return ttl, expires_at


def expiry(metadata: object) -> tuple[TTL | None, datetime | None]:
    """Return the `ttl` and `expires_at` in the metadata, each None if missing.

    Raises ValidationError if either is invalid, even if the other one is valid and wins.
    """
    if not metadata or not isinstance(metadata, Mapping):
        return None, None
    ttl, text = metadata.get("ttl"), metadata.get("expires_at")
    if ttl is not None:
        check_expiry(ttl, None)
    if text is None:
        return ttl, None
    if not isinstance(text, str):
        raise ValidationError(f"metadata.expires_at {_EXPECTED}, got {type(text).__name__}")
    return None, _moment(text, "metadata.expires_at")


def _moment(text: str, field: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValidationError(f"{field} {_EXPECTED}, got {text!r}") from None
    if moment.utcoffset() is None:
        raise ValidationError(f"{field} {_EXPECTED}, got {text!r} without an offset")
    return moment


_EXPECTED = "must be ISO 8601 with an offset, such as '2030-01-31T12:00:00+00:00'"


class Expiring:
    """The entries of a batch, with the expiry in their metadata added for the lake.

    `errors` maps the key of each entry with an invalid expiry to its error. Such an entry gets an
    impossible ttl, so that the lake refuses it too. Report the error from here, not the lake's.
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
