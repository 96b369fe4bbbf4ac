"""Uploads, which are under a lease until a commit names them."""

from __future__ import annotations

from collections.abc import Iterable

from lakebed.catalog.protocol import Catalog
from lakebed.errors import LakebedError
from lakebed.model import Upload
from lakebed.objects.store import ObjectStore
from lakebed.values.encoded import Encoded, EncodedFile

LEASE_SECONDS = 24 * 3600.0
"""How long an upload may take before a collector may take it for an orphan."""

Content = Encoded | EncodedFile


def upload(objects: ObjectStore, path: str, encoded: Content) -> Upload:
    """Write a value as a file of its own."""
    if isinstance(encoded, Encoded):
        objects.write(path, encoded.data)
    else:
        with objects.open_write(path) as sink:
            sink.writelines(encoded.pieces())
    return Upload(path, encoded.byte_size)


def give_up(catalog: Catalog, paths: Iterable[str]) -> None:
    """Discard uploads because something has failed. The caller is to hear of that failure alone."""
    try:
        catalog.discard(paths)
    except LakebedError:
        return  # their leases run out
