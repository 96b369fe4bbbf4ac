"""What a catalog is opened with, and what opening one gives."""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from lakebed.catalog.protocol import Catalog
from lakebed.catalog.statements.hiding import Mask
from lakebed.clock import Clock, system_clock
from lakebed.errors import ConfigurationError

MEMORY = ":memory:"
Durability = Literal["normal", "full"]


class CatalogOptions(NamedTuple):
    """What `lakebed.open` passes to every catalog. `mask` makes of a text, such as an error's, what
    may be shown of it: parts of the address may be secrets. `read_only`: nothing is to be written,
    and writing calls raise ReadOnlyError."""

    durability: Durability = "normal"
    lock_timeout: float = 60.0
    clock: Clock = system_clock
    mask: Mask = str
    read_only: bool = False


class OpenedCatalog(NamedTuple):
    """A catalog, its name for people, whether it outlives the process, and whether its settings are
    first read when it is first used."""

    catalog: Catalog
    name: str
    persistent: bool
    lazy: bool = False


def refuse_unknown(given: Mapping[str, object], known: Sequence[str]) -> None:
    """ConfigurationError for an option that a catalog does not know."""
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"catalog: unknown option {name!r}: expected {', '.join(map(repr, known))}"
            )
