"""Copy tables of parts. Only the parts that the target does not have are read."""

from __future__ import annotations

from lakebed.catalog.protocol import MissingContentError
from lakebed.errors import LakebedError
from lakebed.lake.contents.parts import part_rows
from lakebed.lake.contents.reading import ContentReading
from lakebed.lake.entries.staging import ATTEMPTS
from lakebed.lake.growing.writing import PartsWriting, Staged
from lakebed.model import Content, EntryRow, Put
from lakebed.values.encoded import Encoded
from lakebed.values.parts import TABLE, Part, decode_parts


def store_table(
    source: ContentReading, target: PartsWriting, row: EntryRow, data: bytes, *, timed: bool = False
) -> int:
    """Store a table of parts of another lake, with its metadata, expiry and times. Return the size
    in bytes of the parts that were read.

    `data`: the list of its parts. `timed`: see `store_contents`.
    """
    # A lake that keeps all history finds versions by their times, and this copy is a version that
    # begins now, not when the source's did.
    updated_at = row.updated_at if timed or target._history != "all" else None
    parts = {part.content_hash: part for part in decode_parts(data).parts}
    for _ in range(ATTEMPTS - 1):
        try:
            return _store(source, target, row, data, parts, updated_at)
        except MissingContentError:
            continue
    return _store(source, target, row, data, parts, updated_at)


def _store(
    source: ContentReading,
    target: PartsWriting,
    row: EntryRow,
    data: bytes,
    parts: dict[bytes, Part],
    updated_at: int | None,
) -> int:
    known = target._catalog.known([(content_hash, "parquet") for content_hash in parts])
    missing = [part for part in parts.values() if (part.content_hash, "parquet") not in known]
    contents = source._catalog.parts((row.content_hash, TABLE))
    staged = list[Staged]()
    try:
        for at, found in source.read_contents(part_rows(row, missing, contents)):
            if isinstance(found, LakebedError):
                raise found
            encoded = Encoded("parquet", found, at.content_hash)
            staged.append(target._stage_part(encoded, parts[at.content_hash].rows))
        brought = {one.part.content_hash: one.content for one in staged}
        listed = [
            brought.get(part.content_hash, Content(part.content_hash, "parquet", part.byte_size))
            for part in parts.values()
        ]
        put = Put(
            row.key,
            Content(row.content_hash, TABLE, len(data), data),
            row.metadata,
            expires_at=row.expires_at,
            parts=listed,
            times=(row.created_at, updated_at),
        )
        target._catalog.commit([put], [done for one in staged for done in one.uploads])
    except BaseException:
        for one in staged:
            target._give_up(one)
        raise
    return sum(part.byte_size for part in missing)
