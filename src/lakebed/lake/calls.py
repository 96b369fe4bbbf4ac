"""The calls of a lake: all its parts, put together."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from lakebed.lake.entries.batch_reading import BatchReading
from lakebed.lake.entries.batches import Batches
from lakebed.lake.entries.stats import Statistics
from lakebed.lake.entries.taking import Taking
from lakebed.lake.growing.appending import Appending
from lakebed.lake.querying import Querying
from lakebed.lake.share.presigning import Presigning
from lakebed.lake.share.publishing import Publishing
from lakebed.lake.upkeep.adopting import Adopting
from lakebed.lake.upkeep.maintenance import Maintenance
from lakebed.lake.upkeep.verifying import Verifying


class Calls(
    Batches,
    Taking,
    Appending,
    BatchReading,
    Querying,
    Publishing,
    Presigning,
    Maintenance,
    Adopting,
    Verifying,
    Statistics,
    MutableMapping[str, Any],
):
    """What a lake and a scope have in common: every call but `scope`."""

    # Mappings compare entry by entry. Nobody means that for two lakes.
    __eq__ = object.__eq__
    __hash__ = object.__hash__
