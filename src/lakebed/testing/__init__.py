"""Tests and helpers for Lakebed and for catalogs outside it. Needs pytest and hypothesis.

`CatalogConformance` is the suite that every catalog passes, `LogStoreConformance` that of every
store of a shared log, `LockConformance` that of every kind of lock, `BlobStorageConformance` that
of every storage of files. `LTMContract` is the suite for every backend of the LTM interface.
`LakeMachine` is a state machine that compares a lake with a dictionary. `FaultyStore` is a storage,
and `FaultyExecutor` a database, that fails as planned. `FakeClock` is a clock that stands still.
`open_lake` opens a lake with these parts.
"""

import pytest

# Must come before the modules are imported, so that their assertions show what they compared.
pytest.register_assert_rewrite(
    "lakebed.testing.conformance",
    "lakebed.testing.files",
    "lakebed.testing.locks",
    "lakebed.testing.log_stores",
    "lakebed.testing.ltm",
    "lakebed.testing.machine",
)

from lakebed.testing.clock import FakeClock  # noqa: E402
from lakebed.testing.conformance import CatalogConformance  # noqa: E402
from lakebed.testing.documents import MetadataStoreConformance  # noqa: E402
from lakebed.testing.executors import FaultyExecutor  # noqa: E402
from lakebed.testing.faults import FaultyStore  # noqa: E402
from lakebed.testing.files import BlobStorageConformance  # noqa: E402
from lakebed.testing.lakes import open_lake  # noqa: E402
from lakebed.testing.locks import LockConformance  # noqa: E402
from lakebed.testing.log_stores import LogStoreConformance  # noqa: E402
from lakebed.testing.ltm import LTMContract  # noqa: E402
from lakebed.testing.machine import LakeMachine  # noqa: E402

__all__ = [
    "BlobStorageConformance",
    "CatalogConformance",
    "FakeClock",
    "FaultyExecutor",
    "FaultyStore",
    "LTMContract",
    "LakeMachine",
    "LockConformance",
    "LogStoreConformance",
    "MetadataStoreConformance",
    "open_lake",
]
