"""Turns values into committed entries: uploads the large ones, then commits briefly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lakebed.catalog.protocol import MissingContentError
from lakebed.errors import LakebedError, SerializationError
from lakebed.lake.base import MAX_INLINE_BYTES
from lakebed.lake.contents.uploading import LEASE_SECONDS, give_up, upload
from lakebed.lake.entries.mending import Mending
from lakebed.model import Change, Content, ContentId, Delete, Outcome, Put
from lakebed.objects.names import object_path
from lakebed.values.encoded import Encoded, EncodedFile

ATTEMPTS = 5
"""The tries of a commit whose reused contents are collected just before it."""


class Staging(Mending):
    """Commits changes whose contents may have to be uploaded first."""

    def _content(self, encoded: Encoded | EncodedFile) -> Content:
        """Return the catalog's description of a value."""
        inline = self._inline_data(encoded)
        return Content(encoded.content_hash, encoded.format, encoded.byte_size, inline)

    def _inline_data(self, encoded: Encoded | EncodedFile) -> bytes | None:
        """Return the bytes of a value that is kept in the catalog, or None."""
        # Each table is a separate file, which other programs read in place.
        fits = encoded.byte_size <= self._inline_threshold and encoded.format != "parquet"
        return encoded.data if fits or self._objects is None else None

    def _commit(
        self, changes: Sequence[Change], large: Iterable[Encoded | EncodedFile] = ()
    ) -> list[Outcome]:
        """Commit changes. `large` has the bytes of the contents that are not inline.

        Contents that the lake has and that can be read are not uploaded. If they are collected
        before the commit, the commit fails, and everything is tried again.
        """
        encoded = {item.id: item for item in large}
        if not encoded:
            return self._mend_reused(changes, self._catalog.commit(changes))
        for _ in range(ATTEMPTS - 1):
            try:
                return self._mend_reused(changes, self._upload_and_commit(changes, encoded))
            except MissingContentError:
                continue
        return self._mend_reused(changes, self._upload_and_commit(changes, encoded))

    def _mend_reused(self, changes: Sequence[Change], outcomes: list[Outcome]) -> list[Outcome]:
        """Return the outcomes, after making sure that small contents in the storage can be read.

        Only the commit tells which contents these are. Asking earlier would cost each small store a
        query. The entry has changed by then, so a refusal by the storage must not fail the store.
        The content becomes inline instead.
        """
        reused = [
            Encoded(change.content.format, change.content.inline_value, change.content.content_hash)
            for change, outcome in zip(changes, outcomes, strict=True)
            if outcome.deduplicated
            and outcome.row is not None
            and outcome.row.uri is not None
            and isinstance(change, Put)
            and change.content.inline_value is not None
        ]
        if not reused:
            return outcomes
        try:
            mended = self._mend(reused)
        except LakebedError:
            mended = self._put_inline(reused)
        if not mended:
            return outcomes
        return [self._located(outcome) for outcome in outcomes]

    def _located(self, outcome: Outcome) -> Outcome:
        """Return the outcome with the present place of its content."""
        row = outcome.row
        place = None if row is None else self._catalog.locate((row.content_hash, row.format))
        if row is None or place is None:
            return outcome
        return outcome._replace(row=row._replace(**place._asdict()))

    def _upload_and_commit(
        self, changes: Sequence[Change], encoded: dict[ContentId, Encoded | EncodedFile]
    ) -> list[Outcome]:
        assert self._objects is not None
        known = self._catalog.places(encoded)
        self._mend((encoded[content] for content in known), known)
        missing = {
            content: object_path(item.content_hash, item.format)
            for content, item in encoded.items()
            if content not in known
        }
        if not missing:
            return self._catalog.commit(changes)
        self._catalog.lease(missing.values(), LEASE_SECONDS)
        try:
            uploads = [
                upload(self._objects, path, encoded[content]) for content, path in missing.items()
            ]
            return self._catalog.commit([_placed(change, missing) for change in changes], uploads)
        except Exception:
            give_up(self._catalog, missing.values())
            raise


def in_memory(encoded: Encoded | EncodedFile) -> Encoded:
    """Return the value for a catalog without storage."""
    try:
        if encoded.byte_size > MAX_INLINE_BYTES:
            raise SerializationError(
                f"the value takes {encoded.byte_size} bytes: a lake without storage keeps at most "
                f"{MAX_INLINE_BYTES} in its catalog; open it with storage="
            )
        if isinstance(encoded, Encoded):
            return encoded
        return Encoded(encoded.format, encoded.data, encoded.content_hash)
    finally:
        encoded.close()


def _placed(change: Change, paths: dict[ContentId, str]) -> Change:
    """Return the change with the path of its upload, if it has one."""
    if isinstance(change, Delete) or change.content.id not in paths:
        return change
    path = paths[change.content.id]
    return change._replace(content=change.content._replace(uri=path))
