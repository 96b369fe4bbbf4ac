"""What a catalog may lack, and the error of a call that needs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NoReturn, TypeGuard, get_args

from lakebed.catalog.protocol import Scannable
from lakebed.errors import CatalogError

Capability = Literal["versions", "collection", "compaction", "purge", "scan"]
CAPABILITIES: frozenset[Capability] = frozenset(get_args(Capability))
_WHY: Mapping[Capability, str] = {
    "versions": "keeps no earlier versions, so it has no snapshots and no history",
    "collection": "cannot collect what nothing refers to",
    "compaction": "cannot compact",
    "purge": "cannot purge",
    "scan": "has no tables for SQL and Arrow",
}


class Lacking:
    """A call that a catalog cannot do. In the class of the catalog it stands in place of the
    call."""

    def __init__(self, capability: Capability) -> None:
        self.capability = capability

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise CatalogError(f"this catalog {_WHY[self.capability]}")


def lacking(capability: Capability) -> Any:
    """Return what stands in place of a call that raises CatalogError, because the catalog lacks a
    capability."""
    return Lacking(capability)


def capabilities_of(catalog: object) -> frozenset[Capability]:
    """Return what a catalog can do: all of `CAPABILITIES`, unless calls of it are `lacking`."""
    kind = type(catalog)
    calls = (getattr(kind, name) for name in dir(kind))
    return CAPABILITIES - {call.capability for call in calls if isinstance(call, Lacking)}


def is_scannable(catalog: object) -> TypeGuard[Scannable]:
    """Return whether a catalog, or what reads it at a moment, gives whole relations at once."""
    return isinstance(catalog, Scannable) and "scan" in capabilities_of(catalog)


class LacksAll:
    """The calls that need a capability. A catalog defines those of the capabilities that it has."""

    create_snapshot = lacking("versions")
    drop_snapshot = lacking("versions")
    at = lacking("versions")
    moment = lacking("versions")
    diff = lacking("versions")
    restore = lacking("versions")
    preview_restore = lacking("versions")
    history = lacking("versions")
    prune = lacking("versions")

    lapse_leases = lacking("collection")
    collect = lacking("collection")
    preview_collect = lacking("collection")
    due_trash = lacking("collection")
    trash = lacking("collection")
    add_trash = lacking("collection")
    forget_trash = lacking("collection")
    unknown = lacking("collection")
    orphans_listed = lacking("collection")
    note_orphans_listed = lacking("collection")

    tables_of_parts = lacking("compaction")
    inline_objects = lacking("compaction")
    worn_packs = lacking("compaction")
    pack_objects = lacking("compaction")
    move = lacking("compaction")

    purge = lacking("purge")
    preview_purge = lacking("purge")
    wear = lacking("purge")
    packs_with_dead = lacking("purge")
    uploads = lacking("purge")
    expedite = lacking("purge")

    scan = lacking("scan")
