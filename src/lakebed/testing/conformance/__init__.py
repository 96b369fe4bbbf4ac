"""The conformance suite: what every catalog must do, by what a lake over it does."""

from __future__ import annotations

from lakebed.testing.conformance.batches import RetrievingBatches, StoringBatches
from lakebed.testing.conformance.contents import Contents, Reopening
from lakebed.testing.conformance.diffs import Diffs
from lakebed.testing.conformance.expiry import Expiry
from lakebed.testing.conformance.filters import Filters
from lakebed.testing.conformance.history import History, Moments
from lakebed.testing.conformance.listing import Listing
from lakebed.testing.conformance.refusals import Refusals
from lakebed.testing.conformance.restores import Restores
from lakebed.testing.conformance.search import Search
from lakebed.testing.conformance.snapshots import LookingBack, Snapshots
from lakebed.testing.conformance.storing import Conditions, Storing
from lakebed.testing.conformance.taking import Taking
from lakebed.testing.conformance.transactions import Transactions
from lakebed.testing.conformance.values import Values

__all__ = ["CatalogConformance"]


class CatalogConformance(
    Storing,
    Conditions,
    Listing,
    Expiry,
    Transactions,
    Taking,
    Values,
    Contents,
    Filters,
    Refusals,
    StoringBatches,
    RetrievingBatches,
    Snapshots,
    LookingBack,
    Diffs,
    Restores,
    Moments,
    History,
    Search,
    Reopening,
):
    """Subclass it, say how a lake over your catalog is opened, and pytest does the rest.

        class TestMyCatalog(CatalogConformance):
            def open_lake(self, folder, clock, **settings):
                catalog = OpenedCatalog(MyCatalog(folder / "names", clock), "mine", True)
                return lakebed.testing.open_lake(folder, catalog=catalog, **settings)

    What the catalog cannot do stands in `gaps`, by feature and with the reason; a gap that has
    closed fails.
    """
