"""Opens a lake whose objects have been copied to another storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lakebed.catalog.identity import Owned
from lakebed.catalog.opened import OpenedCatalog
from lakebed.errors import ConfigurationError, StorageError
from lakebed.lake.ownership import BESIDE
from lakebed.model import ObjectRow, Progress
from lakebed.objects.store import ObjectStore, StoredFile

_PAGE = 1000
_NAMED = 5


def relocate(
    opened: OpenedCatalog,
    store: ObjectStore | None,
    shown: str,
    found: Mapping[str, str],
    progress: Progress | None,
) -> None:
    """Record the new storage of a lake, after checking that it has all objects.

    `shown`: the name of the new storage in the catalog. `found`: the settings of the lake.
    `progress` is called with the number of objects checked, and None.

    Raises StorageError, naming missing objects, and then changes nothing; ConfigurationError for a
    lake that cannot be relocated.
    """
    if store is None or BESIDE in (shown, found["storage"]):
        raise ConfigurationError(
            "relocate needs the catalog and the new storage; a lake in a folder needs no "
            "relocation: copy the folder"
        )
    if not isinstance(opened.catalog, Owned):
        raise ConfigurationError(
            f"the catalog {opened.name} cannot be relocated: it lacks change_setting"
        )
    there = {file.path: file.byte_size for file in _files(store)}
    missing: list[ObjectRow] = []
    count = looked = 0
    for row in _stored(opened):
        assert row.uri is not None
        size = there.get(row.uri)
        if size is None or (row.position is None and size != row.byte_size):
            count += 1
            missing += [row] if len(missing) < _NAMED else []
        looked += 1
        if progress and looked % _PAGE == 0:
            progress(looked, None)
    if missing:
        named = "; ".join(_described(opened, row) for row in missing)
        raise StorageError(
            f"{count:,} of {looked:,} objects are not in {shown}: {named}"
            f"{'; …' if count > len(missing) else ''}. Nothing was changed: copy the folders "
            "objects and packs whole, and try again"
        )
    if progress:
        progress(looked, looked)
    opened.catalog.change_setting("storage", lambda _: shown)


def _files(store: ObjectStore) -> Iterator[StoredFile]:
    for folder in ("objects", "packs"):
        yield from store.list(folder)


def _stored(opened: OpenedCatalog) -> Iterator[ObjectRow]:
    """Give the objects that are in the storage."""
    after = 0
    while rows := opened.catalog.objects(after, _PAGE):
        yield from (row for row in rows if row.uri is not None)
        after = rows[-1].id


def _described(opened: OpenedCatalog, row: ObjectRow) -> str:
    keys = sorted({name.key for name in opened.catalog.names(row.id)})
    return f"{row.uri} (of {', '.join(map(repr, keys[:2]))}{', …' if len(keys) > 2 else ''})"
