"""What a catalog takes and gives beside the rows of `lakebed.model`, and the errors that the lake
catches."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from typing import NamedTuple

from lakebed.errors import CatalogError


class MissingContentError(CatalogError):
    """Content that a commit meant to reuse, or an upload that it meant to claim, is gone: upload it
    again.

    The lake catches this error. It never reaches a caller.
    """


class GoneObjectsError(MissingContentError):
    """Objects that were to be moved are gone. `ids` are their numbers."""

    def __init__(self, ids: set[int]) -> None:
        super().__init__(f"{len(ids)} objects that were to be moved are gone")
        self.ids = ids


class CatalogStats(NamedTuple):
    """Totals over a catalog, with sizes in bytes.

    `used_bytes`: the size of the objects behind visible entries. The other objects wait for their
    collection, or belong to snapshots and history. `estimated`: the names of the totals that were
    estimated rather than counted.
    """

    entries: int
    expired: int
    entry_bytes: int
    objects: int
    object_bytes: int
    inline_objects: int
    inline_bytes: int
    packs: int
    snapshots: int
    history: int
    used_bytes: int
    estimated: tuple[str, ...] = ()


class StagedRow(NamedTuple):
    """An entry of a batch, ready to be committed. Times are in microseconds. If it has neither
    `inline_value` nor `uri`, the catalog must know its content.

    `created_at`, `updated_at`: those of an entry that is copied from another lake. Left out, they
    are the entry's own and the time of the commit.
    """

    key: str
    content_hash: bytes
    format: str
    byte_size: int
    inline_value: bytes | None
    uri: str | None
    position: str | None
    metadata: str
    ttl: int | None
    expires_at: int | None
    created_at: int | None = None
    updated_at: int | None = None


class BatchCounts(NamedTuple):
    """What a batch did: how many entries it created, changed (the created ones included) and left
    unchanged, and how many contents the lake held already."""

    created: int
    changed: int
    unchanged: int
    deduplicated: int


class Place(NamedTuple):
    """Where the bytes of an object are: inline, in a file of their own, or at a position in a
    pack."""

    inline_value: bytes | None
    uri: str | None
    position: str | None
