"""The content hash: SHA-256 over the stored bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

from lakebed.errors import ValidationError

_FORM = r"sha256:([0-9a-f]{64})\Z"


def digest(data: bytes) -> bytes:
    """Return the 32 bytes of the SHA-256 of `data`."""
    return sha256(data).digest()


def digests(contents: Iterable[bytes]) -> list[bytes]:
    """Return the SHA-256 of each content, faster than `digest` called for each."""
    return [sha256(data).digest() for data in contents]


def parse_content_hash(text: str, field: str) -> bytes:
    """Return the 32 bytes of `sha256:…`. Raises ValidationError, naming `field`, for other text."""
    match = re.match(_FORM, text) if isinstance(text, str) else None
    if match is None:
        raise ValidationError(
            f"{field} must be a content hash, 'sha256:' and 64 hexadecimal digits, got {text!r}"
        )
    return bytes.fromhex(match[1])
