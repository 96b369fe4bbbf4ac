"""What tests of Lakebed and of outside catalogs share. Needs pytest and hypothesis.

`CatalogConformance` is the suite that every catalog passes, `LTMContract` that of every backend of
the LTM interface, `LakeMachine` the state machine that compares a lake with a dictionary.
`FaultyStore` is a storage and `FaultyExecutor` a database that go wrong as planned, `FakeClock` a
time that stands still, and `open_lake` puts them together.
"""

import pytest

# Before the modules are loaded: their assertions then show what they compared.
pytest.register_assert_rewrite(
    "lakebed.testing.conformance", "lakebed.testing.ltm", "lakebed.testing.machine"
)

from lakebed.testing.clock import FakeClock  # noqa: E402
from lakebed.testing.conformance import CatalogConformance  # noqa: E402
from lakebed.testing.executors import FaultyExecutor  # noqa: E402
from lakebed.testing.faults import FaultyStore  # noqa: E402
from lakebed.testing.lakes import open_lake  # noqa: E402
from lakebed.testing.ltm import LTMContract  # noqa: E402
from lakebed.testing.machine import LakeMachine  # noqa: E402

__all__ = [
    "CatalogConformance",
    "FakeClock",
    "FaultyExecutor",
    "FaultyStore",
    "LTMContract",
    "LakeMachine",
    "open_lake",
]
