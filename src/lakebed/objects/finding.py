"""Finds contents in a storage without a catalog: by the names of files, or in packs."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from lakebed.errors import CorruptionError
from lakebed.model import Content
from lakebed.objects.names import format_of, hash_of
from lakebed.objects.packs import HASH_PREFIX_BYTES, LENGTH_BYTES, Position, page_body
from lakebed.objects.store import ObjectStore
from lakebed.values.hash import digest


def contents_of(store: ObjectStore, path: str, byte_size: int) -> Iterator[Content]:
    """Yield the contents in a file under `objects` or `packs`. Other files yield nothing.

    An object is recognised by its name and not read. A pack is read as a whole, and each of its
    values is compared with its hash. Raises CorruptionError if the pack is damaged, and
    FileNotFoundError if it does not exist.
    """
    if path.startswith("packs/"):
        yield from _packed(path, store.read(path))
        return
    content_hash, format = hash_of(path), format_of(path)
    if content_hash is not None and format is not None:
        yield Content(content_hash, format, byte_size, None, path)


def _packed(path: str, data: bytes) -> Iterator[Content]:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group)
            prefixes, formats, values = (
                rows.column(name).to_pylist() for name in ("hash_prefix", "format", "value")
            )
            raw = sum(LENGTH_BYTES + len(value) for value in values)
            offset, length = page_body(file.metadata.row_group(group).column(2), raw)
            start = 0
            for prefix, format, value in zip(prefixes, formats, values, strict=True):
                content_hash = digest(value)
                if content_hash[:HASH_PREFIX_BYTES] != prefix:
                    raise CorruptionError(f"the pack {path} is damaged: a value has another hash")
                place = str(Position(offset, length, start))
                yield Content(content_hash, format, len(value), None, path, place)
                start += LENGTH_BYTES + len(value)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise CorruptionError(f"{path} is not a pack: {error}") from None
