"""Adoption: declare which copy of a catalog continues."""

from __future__ import annotations

from lakebed.errors import ConfigurationError, ReadOnlyError
from lakebed.lake.base import PresentLake
from lakebed.records import Report


class AdoptReport(Report):
    """The result of `adopt`: the storage that the lake now owns, and the catalog that owned it
    before.

    The catalog is None if the storage had no mark yet.
    """

    storage: str
    before: str | None


class Adopting(PresentLake):
    """The call `adopt`."""

    def adopt(self) -> AdoptReport:
        """Declare that this copy of the catalog continues with the storage.

        A storage belongs to one catalog. A copy of that catalog, restored from a dump or copied as
        a file, opens read-only, because each would delete objects that the other one needs. After
        this call the copy can be written. The earlier owner becomes read-only when it next checks,
        at most 30 seconds later. First stop the programs that write to it: this copy does not know
        the values that they store, and `collect` will delete them.

        Reads and writes one small file. Raises ConfigurationError for a lake whose storage cannot
        be shared, and ReadOnlyError for a lake that was opened with read_only=True.
        """
        if self._owner is None:
            if self.read_only:
                raise ReadOnlyError(f"adopt writes, and {self.name} was opened with read_only=True")
            raise ConfigurationError(
                f"{self.name} has nothing to adopt: only a lake whose storage is apart from its "
                "catalog can adopt it"
            )
        mark = self._owner.adopt()
        self._turn(read_only=False)
        assert self._objects is not None
        return AdoptReport(
            storage=self._objects.uri("").rstrip("/"), before=None if mark is None else mark.catalog
        )
