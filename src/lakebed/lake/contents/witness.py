"""What a client knows about the contents in a storage."""

from __future__ import annotations

from collections.abc import Iterable

from lakebed.model import ContentId

_MOST = 100_000


class Witness:
    """The contents that this client has seen whole in the storage, and those that it found missing
    or damaged. A lake and its views share one. The latest that it was told counts."""

    def __init__(self) -> None:
        self._seen: set[ContentId] = set()
        self.lost: set[ContentId] = set()

    def has_seen(self, content: ContentId) -> bool:
        """Return whether the content was there, whole."""
        return content in self._seen

    def saw(self, contents: Iterable[ContentId]) -> None:
        """Note contents that are there, whole."""
        if len(self._seen) > _MOST:
            self._seen.clear()  # so that memory stays bounded: they are looked at once more
        contents = set(contents)
        self._seen |= contents
        self.lost -= contents

    def missed(self, content: ContentId) -> None:
        """Note a content that is missing or damaged."""
        if len(self.lost) > _MOST:
            self.lost.clear()
        self._seen.discard(content)
        self.lost.add(content)
