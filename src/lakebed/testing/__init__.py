"""Tests and helpers for Lakebed and for catalogs outside it. Needs pytest and hypothesis.

Conformance suites, one for each interface that an outside package can implement:
`CatalogConformance` for catalogs, `LogStoreConformance` for stores of a shared log,
`LockConformance` for locks, `BlobStorageConformance` for storages of files,
`MetadataStoreConformance` for stores of documents, and `LTMContract` for backends of the LTM
interface.

`LakeMachine` is a state machine that compares a lake with a dictionary. `FaultyStore` is a storage
that fails as planned, and `FaultyExecutor` a database that fails as planned. `FakeClock` is a clock
that stands still. `open_lake` opens a lake with these parts.
"""

import pytest

# This must run before the modules are imported, so that a failed assertion shows its operands.
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
