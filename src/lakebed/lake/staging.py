"""From values to committed entries: stage what belongs in the lake, then one short commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from lakebed.catalog.protocol import Catalog, MissingContentError
from lakebed.errors import LakebedError, SerializationError
from lakebed.lake.base import MAX_INLINE_BYTES, PresentLake
from lakebed.model import Change, Content, ContentId, Delete, Outcome, Upload
from lakebed.objects.names import object_path
from lakebed.objects.store import ObjectStore
from lakebed.values.encoded import Encoded, EncodedFile

LEASE_SECONDS = 24 * 3600.0
"""How long an upload may take before a collector may take it for an orphan."""
ATTEMPTS = 5
"""How often a commit is tried whose reused content is collected just before it."""


class Staging(PresentLake):
    """Commits changes whose contents may have to be uploaded first."""

    def _content(self, encoded: Encoded | EncodedFile) -> Content:
        """What the catalog is told of a value: with its bytes if it is to lie inline."""
        size = encoded.byte_size
        # Tables are files of their own, which others read where they lie.
        fits = size <= self._inline_threshold and encoded.format != "parquet"
        data = encoded.data if fits or self._objects is None else None
        return Content(encoded.content_hash, encoded.format, size, data)

    def _commit(
        self, changes: Sequence[Change], large: Iterable[Encoded | EncodedFile] = ()
    ) -> list[Outcome]:
        """Commit changes; `large` has the bytes of those contents that do not lie inline.

        What the lake holds already is not uploaded. If that is collected before the commit, the
        commit fails and all is tried again.
        """
        encoded = {item.id: item for item in large}
        if not encoded:
            return self._catalog.commit(changes)
        for _ in range(ATTEMPTS - 1):
            try:
                return self._upload_and_commit(changes, encoded)
            except MissingContentError:
                continue
        return self._upload_and_commit(changes, encoded)

    def _upload_and_commit(
        self, changes: Sequence[Change], encoded: dict[ContentId, Encoded | EncodedFile]
    ) -> list[Outcome]:
        assert self._objects is not None
        known = self._catalog.known(encoded)
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


def give_up(catalog: Catalog, paths: Iterable[str]) -> None:
    """Discard uploads because something has failed; that is what the caller is to hear of."""
    with suppress(LakebedError):  # else their leases run out
        catalog.discard(paths)


def upload(objects: ObjectStore, path: str, encoded: Encoded | EncodedFile) -> Upload:
    """Write a value as a file of its own."""
    if isinstance(encoded, Encoded):
        objects.write(path, encoded.data)
    else:
        with objects.open_write(path) as sink:
            sink.writelines(encoded.pieces())
    return Upload(path, encoded.byte_size)


def in_memory(encoded: Encoded | EncodedFile) -> Encoded:
    """The value for a catalog without storage."""
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
    """The change with the path of its upload, if it has one."""
    if isinstance(change, Delete) or change.content.id not in paths:
        return change
    path = paths[change.content.id]
    return change._replace(content=change.content._replace(uri=path))
