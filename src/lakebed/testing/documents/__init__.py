"""The suite that every store of documents passes; see `MetadataStoreConformance`."""

from lakebed.testing.documents.base import Connect, blocking
from lakebed.testing.documents.fields import FieldTests
from lakebed.testing.documents.hostile import HostileTests
from lakebed.testing.documents.oracle import OracleTests
from lakebed.testing.documents.queries import QueryTests
from lakebed.testing.documents.storing import StoringTests
from lakebed.testing.documents.together import TogetherTests
from lakebed.testing.documents.transactions import TransactionTests

__all__ = ["Connect", "MetadataStoreConformance", "blocking"]


class MetadataStoreConformance(
    StoringTests,
    FieldTests,
    QueryTests,
    OracleTests,
    HostileTests,
    TransactionTests,
    TogetherTests,
):
    """Every promise of a `MetadataStore`, for one of them.

        class TestMyStore(MetadataStoreConformance):
            @pytest.fixture
            def connect(self):
                return create_metadata_store, "mine", {"url": "…"}

    `connect`: a function at the top of a module, and its arguments, with which each process makes a
    store over the same documents. Names of collections are the suite's own, and differ each time,
    so that a server may be shared. An asynchronous store is tested by the same calls.

    `slow`: the store does about one transaction a second where many want the same document, so
    fewer are run. `nested_lists`: it holds lists that are directly in lists. `refuses` declares
    names that the store cannot hold.
    """
