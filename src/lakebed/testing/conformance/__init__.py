"""The conformance suite: it tests what every catalog must do, through a lake over the catalog."""

from __future__ import annotations

from lakebed.testing.conformance.appending import Appending
from lakebed.testing.conformance.batches import RetrievingBatches, StoringBatches
from lakebed.testing.conformance.capabilities import Capabilities
from lakebed.testing.conformance.changes import Changes
from lakebed.testing.conformance.contents import Contents, Reopening, Together
from lakebed.testing.conformance.diffs import Diffs
from lakebed.testing.conformance.expiry import Expiry, Touching
from lakebed.testing.conformance.filters import Filters
from lakebed.testing.conformance.history import History, Moments
from lakebed.testing.conformance.listing import Listing
from lakebed.testing.conformance.querying import Querying
from lakebed.testing.conformance.refusals import Refusals
from lakebed.testing.conformance.restores import Restores
from lakebed.testing.conformance.search import Search
from lakebed.testing.conformance.snapshots import LookingBack, Snapshots
from lakebed.testing.conformance.storing import Conditions, Storing
from lakebed.testing.conformance.taking import Taking
from lakebed.testing.conformance.transactions import Transactions
from lakebed.testing.conformance.upkeep import Collecting, Compacting, Purging, Verifying
from lakebed.testing.conformance.values import Values

__all__ = ["CatalogConformance"]


class CatalogConformance(
    Storing,
    Conditions,
    Listing,
    Expiry,
    Touching,
    Transactions,
    Taking,
    Appending,
    Values,
    Contents,
    Filters,
    Refusals,
    StoringBatches,
    RetrievingBatches,
    Snapshots,
    LookingBack,
    Diffs,
    Changes,
    Restores,
    Moments,
    History,
    Search,
    Querying,
    Collecting,
    Compacting,
    Purging,
    Verifying,
    Together,
    Reopening,
    Capabilities,
):
    """The tests of a catalog. Subclass it, and define how a lake over your catalog is opened.

        class TestMyCatalog(CatalogConformance):
            def open_lake(self, folder, clock, **settings):
                catalog = OpenedCatalog(MyCatalog(folder / "names", clock), "mine", True)
                return lakebed.testing.open_lake(folder, catalog=catalog, **settings)

    `lacks`: the capabilities that the catalog does not have. Tests that need them are skipped.
    `gaps`: other features that the catalog does not have, each with the reason. Tests of these
    features must fail. If one passes, the suite fails.
    """
