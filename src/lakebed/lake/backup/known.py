"""Register contents in a catalog that are already in its storage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeVar

from lakebed.catalog.protocol import TakesContents
from lakebed.errors import ValidationError
from lakebed.lake.contents.uploading import LEASE_SECONDS
from lakebed.lake.lake import Lake
from lakebed.model import Content, EntryRow, ObjectRow, Upload
from lakebed.values.parts import TABLE

T = TypeVar("T")

_PAGE = 1000
_FILES = 500
_TOGETHER = 20_000


def all_objects(lake: Lake) -> Iterator[ObjectRow]:
    """Yield the contents that a lake knows."""
    after = 0
    while rows := lake._catalog.objects(after, _PAGE):
        yield from rows
        after = rows[-1].id


def in_pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of up to `size` items."""
    coming = iter(items)
    while page := list(islice(coming, size)):
        yield page


def content_of(row: ObjectRow) -> Content:
    """Return the catalog's description of an object."""
    return Content(
        row.content_hash, row.format, row.byte_size, row.inline_value, row.uri, row.position
    )


def as_entry(row: ObjectRow) -> EntryRow:
    """Return an object as an entry without a name, for calls that read entries."""
    return EntryRow("", 0, "{}", None, 0, 0, *row[1:])


def take_contents(lake: Lake, contents: Iterable[Content], sizes: Mapping[str, int]) -> int:
    """Register contents in a lake, except those that it knows. Return how many were registered.

    `sizes`: the sizes of their files. If a content has several places, the first counts. Lists of
    the parts of a table are left out, because a catalog takes such a list only with its entry.
    """
    if not isinstance(lake._catalog, TakesContents):
        raise ValidationError(
            f"the catalog {lake.name} cannot take contents that are already in its storage"
        )
    taken, seen = 0, set[tuple[bytes, str]]()
    by_file = defaultdict[str | None, list[Content]](list)
    for page in in_pages(contents, _PAGE):
        known = lake._catalog.known(content.id for content in page)
        for content in page:
            if content.format != TABLE and content.id not in known and content.id not in seen:
                seen.add(content.id)
                by_file[content.uri].append(content)
    for inline in in_pages(by_file.pop(None, ()), _TOGETHER):
        lake._catalog.name_contents(inline, ())
        taken += len(inline)
    for files in _groups(by_file):
        paths = [path for path, _ in files]
        lake._catalog.lease(paths, LEASE_SECONDS)
        uploads = [
            Upload(path, sizes[path], len(inside) if inside[0].position is not None else None)
            for path, inside in files
        ]
        some = [content for _, inside in files for content in inside]
        lake._catalog.name_contents(some, uploads)
        taken += len(some)
    return taken


def _groups(
    by_file: Mapping[str | None, list[Content]],
) -> Iterator[list[tuple[str, list[Content]]]]:
    """Yield lists of files, each list for one transaction."""
    group, count = list[tuple[str, list[Content]]](), 0
    for path, inside in by_file.items():
        assert path is not None
        if group and (count + len(inside) > _TOGETHER or len(group) == _FILES):
            yield group
            group, count = [], 0
        group.append((path, inside))
        count += len(inside)
    if group:
        yield group
