"""Bundles: items that hold many small commits, so that a client far behind needs few requests.

`bundle/<k>` holds the small commits of block `k`, each as the same bytes that it has in the log. A
bundle is only a short cut. A client that finds no bundle, or a bundle that does not fit, reads the
commits themselves. See docs/design/log.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from lakebed.catalog.log.items import HEAD_BYTES, Item, checked, entry, from_bytes, to_bytes, whole
from lakebed.errors import CorruptionError

SIZE = 64  # commits in a block; all clients must use the same number
MOST_BYTES = 4096  # the longest body of a commit that goes into a bundle
SWEPT = "bundle/swept"
"""The name of the item that says before which block all bundles are tombstones."""

_NUMBER = struct.Struct("<II")


def name(block: int) -> str:
    """Return the name of the bundle of a block."""
    return f"bundle/{block}"


def block_of(n: int) -> int:
    """Return the block that a commit belongs to."""
    return (n - 1) // SIZE


def numbers(block: int) -> range:
    """Return the numbers of the commits of a block."""
    return range(block * SIZE + 1, (block + 1) * SIZE + 1)


def slim(item: Item) -> Item:
    """Return a commit as a bundle needs it. A large commit loses its body."""
    return item if item.byte_size <= MOST_BYTES else item._replace(body=b"")


def pack(commits: Mapping[int, Item], item_bytes: int) -> Item | None:
    """Return the bundle of a whole block, or None if it would save no request. The bundle is at
    most as large as the store allows, `item_bytes`."""
    most = min(MOST_BYTES, item_bytes // SIZE - HEAD_BYTES)
    held = {
        n: to_bytes(item) for n, item in commits.items() if item.parts or item.byte_size <= most
    }
    if len(held) < 2:
        return None
    body = b"".join(_NUMBER.pack(n, len(data)) + data for n, data in held.items())
    last = max(commits)
    return whole("bundle", "", body)._replace(n=last, last=commits[last].token)


def unpack(block: int, bundle: Item) -> dict[int, Item]:
    """Return the commits in the bundle of a block.

    Raises CorruptionError if the item is damaged, or is not the bundle of this block.
    """
    mine, here = numbers(block), name(block)
    body = b"".join(checked(here, bundle, [bundle.body]))
    found, at = {}, 0
    try:
        while at < len(body):
            n, size = _NUMBER.unpack_from(body, at)
            at += _NUMBER.size
            found[n] = from_bytes(entry(n), body[at : at + size])
            at += size
    except struct.error as error:
        raise CorruptionError(f"{here} is damaged: {error}") from None
    kinds = {item.kind for item in found.values()}
    if (bundle.kind, bundle.n) != ("bundle", mine[-1]) or kinds != {"pages"} or found.keys() - mine:
        raise CorruptionError(f"{here} does not hold the commits of its block")
    return found
