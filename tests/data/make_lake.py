"""Makes the small lake of the present schema version that later versions must be able to read.

    python tests/data/make_lake.py

Until a schema version is released its lake is made anew when the schema changes; afterwards never.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lakebed
from lakebed.catalog.statements.migration import SCHEMA_VERSION

HERE = Path(__file__).parent
LATER, EARLIER = datetime(2199, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)
LARGE = "A long text that lies in a file of its own. " * 200

PRESENT: dict[str, tuple[Any, dict[str, Any]]] = {
    "bytes": (b"\x00\xff" * 10, {}),
    "bytes/of json": (b'{"a":1}', {}),
    "json": ({"a": 1}, {"kind": "note", "n": [1, 1.5, None, {"deep": True}]}),
    "json/numbers": ([0.1, -0.0, 1e22, 10**40, 2**63], {}),
    "json/texts": (["", "\x00", "é", "\U0001f600"], {"kind": "text"}),
    "large": (LARGE, {"kind": "text"}),
    "large/again": (LARGE, {}),
    "expiring": ("not before 2199", {}),
    "packed/1": (LARGE + "1", {"kind": "note"}),
    "packed/2": ("small, in a batch", {"kind": "note"}),
    "packed/3": (LARGE + "3", {}),
    "\U0010ffff": ("the last key", {}),
}
IN_SNAPSHOT: dict[str, Any] = {
    "bytes": b"\x00\xff" * 10,
    "changed": LARGE + "before",
    "deleted": "still in the snapshot",
    "json": {"a": 1},
    "large": LARGE,
}


def make(folder: Path) -> None:
    """Fill a new lake with every kind of row."""
    with lakebed.open(folder) as lake:
        for key, value in IN_SNAPSHOT.items():
            lake.store(key, value)
        lake.maintain()  # which builds a segment, some of whose documents end below
        lake.store("expired", "gone since 2020", expires_at=EARLIER)
        lake.create_snapshot("first", message="as it began", author="a test")
        lake.delete("deleted")
        lake.store("changed", "after")
        lake.delete("changed")
        for key, (value, metadata) in PRESENT.items():
            if not key.startswith("packed/"):
                expiry = LATER if key == "expiring" else None
                lake.store(key, value, metadata, expires_at=expiry)
        lake.store_batch(
            {"key": key, "value": value, "metadata": metadata}
            for key, (value, metadata) in PRESENT.items()
            if key.startswith("packed/")
        )
        assert list(lake.search("long text", limit=1))


if __name__ == "__main__":
    target = HERE / f"lake-v{SCHEMA_VERSION}"
    if target.exists():
        shutil.rmtree(target)
    make(target)
