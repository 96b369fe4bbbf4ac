"""The options with which a catalog is opened, and the result."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from lakebed.catalog.protocol import Catalog
from lakebed.catalog.statements.hiding import Mask
from lakebed.clock import Clock, system_clock
from lakebed.errors import ConfigurationError
from lakebed.objects.store import ObjectStore

MEMORY = ":memory:"
Durability = Literal["normal", "full"]


@runtime_checkable
class Examined(Protocol):
    """A catalog that offers checks for `lakebed doctor`."""

    def examine(self) -> Iterator[tuple[str, Literal["ok", "note", "wrong"], str]]:
        """Give the name of each check, its result, and the details. Changes nothing."""
        ...


class CatalogOptions(NamedTuple):
    """The options that `lakebed.open` passes to every catalog.

    `mask`: removes secrets, such as parts of the address, from a text. `read_only`: the catalog
    must not write, and writing calls raise ReadOnlyError. `cache`: the folder for files that may be
    deleted at any time, if one is configured. `storage`: the storage of the lake, for a catalog
    that is kept in it.
    """

    durability: Durability = "normal"
    lock_timeout: float = 60.0
    clock: Clock = system_clock
    mask: Mask = str
    read_only: bool = False
    cache: str | None = None
    storage: ObjectStore | None = None


class OpenedCatalog(NamedTuple):
    """A catalog, its name for people, whether it outlives the process, and whether its settings are
    read only at its first use."""

    catalog: Catalog
    name: str
    persistent: bool
    lazy: bool = False


def refuse_unknown(given: Mapping[str, object], known: Sequence[str]) -> None:
    """Raise ConfigurationError for an option that a catalog does not know."""
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"catalog: unknown option {name!r}: expected {', '.join(map(repr, known))}"
            )
