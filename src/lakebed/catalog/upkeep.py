"""What the lake asks of a catalog to keep it clean, to purge, and to look for damage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lakebed.catalog.rows import Place
    from lakebed.model import (
        BrokenReference,
        Collected,
        ContentId,
        EntryRow,
        Move,
        Naming,
        ObjectRow,
        PackRow,
        Purged,
        PurgePreview,
        Upload,
    )


class Upkeep(Protocol):
    """The calls of a catalog for its upkeep."""

    def lapse_leases(self, limit: int) -> int:
        """Give up as many as `limit` uploads whose lease has run out, and return how many."""
        ...

    def collect(self, after: int, limit: int, *, dry_run: bool = False) -> Collected:
        """Examine candidates with numbers above `after`: remove the objects that nothing refers to,
        and make their files trash."""
        ...

    def preview_collect(self) -> int:
        """Return how many files a collection would give up: uploads whose lease has run out,
        objects that nothing refers to, and packs that hold only such objects."""
        ...

    def due_trash(self, horizon: int, after: str, limit: int) -> Sequence[str]:
        """Return files that became trash by `horizon`, in the order of their paths."""
        ...

    def trash(self) -> int:
        """Return how many files are trash."""
        ...

    def add_trash(self, paths: Iterable[str]) -> None:
        """Note files that nothing refers to."""
        ...

    def forget_trash(self, paths: Iterable[str]) -> None:
        """Forget files that have been deleted."""
        ...

    def unknown(self, paths: Iterable[str]) -> Sequence[str]:
        """Return those of these files that no row knows: as an object, a pack, a lease or trash."""
        ...

    def orphans_listed(self) -> int:
        """Return when the storage was last listed for orphans."""
        ...

    def note_orphans_listed(self, time: int) -> None:
        """Note when the storage was listed for orphans."""
        ...

    def tables_of_parts(self, after: str, limit: int) -> Sequence[EntryRow]:
        """Return the entries with keys above `after` that are tables of parts, in key order."""
        ...

    def inline_objects(
        self, after: int, horizon: int, least: int, limit: int
    ) -> Sequence[ObjectRow]:
        """Return inline objects with numbers above `after` that have at least `least` bytes and
        were created by `horizon`."""
        ...

    def worn_packs(self, small: int) -> Sequence[PackRow]:
        """Return the packs of which most is dead, or that take less than `small` bytes."""
        ...

    def pack_objects(self, pack_id: int, uri: str) -> Sequence[ObjectRow]:
        """Return the objects in a pack."""
        ...

    def move(self, moves: Sequence[Move], upload: Upload) -> int:
        """Point objects to a new pack, if they are still where they were, and return how many.

        Raises GoneObjectsError, and moves nothing, if some objects are gone: their bytes in the
        upload may have been purged. Raises MissingContentError if the lease of the upload is gone.
        """
        ...

    def objects(self, after: int, limit: int) -> Sequence[ObjectRow]:
        """Return objects with numbers above `after`, in their order."""
        ...

    def names(self, object_id: int) -> Sequence[Naming]:
        """Return the entries, versions and snapshots that an object belongs to."""
        ...

    def purge(self, low: str, high: str, limit: int) -> Purged:
        """Remove up to `limit` keys of the range from the present, the history and every snapshot,
        with what only they held. If nothing was removed, nothing is left."""
        ...

    def preview_purge(self, low: str, high: str) -> PurgePreview:
        """Return what a purge of all keys in the range would remove. Nothing changes."""
        ...

    def wear(self, pack: PackRow) -> None:
        """Have the next compaction rewrite a pack."""
        ...

    def packs_with_dead(self, after: int, limit: int) -> Sequence[PackRow]:
        """Return packs with numbers above `after` that hold bytes which no object names."""
        ...

    def uploads(self) -> Sequence[str]:
        """Return the files that are leased: no commit has claimed them so far."""
        ...

    def expedite(self, paths: Iterable[str]) -> None:
        """Make trash due at once, as if it had been trash since time 0."""
        ...

    def scrub(self, *, thorough: bool = True) -> Sequence[str]:
        """Leave nothing of deleted rows in the database's own files. Return the places, in words,
        where something of them may be left. Unless `thorough`, do only what is quick and waits for
        nobody."""
        ...

    def check_references(self) -> Sequence[BrokenReference]:
        """Return the references between rows that do not hold."""
        ...

    def mend(self, broken: BrokenReference) -> bool:
        """Mend such a reference if that changes no name, and return whether it did."""
        ...

    def replace(self, content: ContentId, place: Place, new: Upload | bytes) -> bool:
        """Point an object that is still at `place` to a new file with the same content, or put its
        bytes inline. Return whether it did. What was at `place` becomes trash."""
        ...
