"""Adoption: declaring which copy of a catalog goes on."""

from __future__ import annotations

from lakebed.errors import ConfigurationError, ReadOnlyError
from lakebed.lake.base import PresentLake
from lakebed.records import Report


class AdoptReport(Report):
    """What `adopt` did: the storage that the lake owns now, and the name of the catalog that owned
    it before, None if the storage had no mark yet."""

    storage: str
    before: str | None


class Adopting(PresentLake):
    """The call that adopts."""

    def adopt(self) -> AdoptReport:
        """Declare that this copy of the catalog goes on with the storage.

        A storage belongs to one catalog. A copy of it, restored from a dump or made of its file,
        opens read-only, because each would delete objects that the other one needs. After this
        call the copy can be written, and the one that owned the storage before is read-only from
        the next time it looks, at most 30 seconds later. Stop what writes to that one first: what
        it has stored since the copy was made is unknown here, and `collect` deletes it in time.

        Reads and writes one small file. Raises ConfigurationError for a lake whose storage cannot
        be shared, ReadOnlyError if it was opened with read_only=True.
        """
        if self._owner is None:
            if self.read_only:
                raise ReadOnlyError(f"adopt writes, and {self.name} was opened with read_only=True")
            raise ConfigurationError(
                f"{self.name} has nothing to adopt: a lake in a folder or without a storage moves "
                "with its catalog"
            )
        mark = self._owner.adopt()
        self._turn(read_only=False)
        assert self._objects is not None
        return AdoptReport(
            storage=self._objects.uri("").rstrip("/"), before=None if mark is None else mark.catalog
        )
