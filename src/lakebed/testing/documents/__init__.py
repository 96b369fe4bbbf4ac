"""The suite that every store of documents passes: `MetadataStoreConformance`."""

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
    """The tests of a `MetadataStore`. Subclass it, and define the fixture `connect`.

        class TestMyStore(MetadataStoreConformance):
            @pytest.fixture
            def connect(self):
                return create_metadata_store, "mine", {"url": "…"}

    `connect`: a function, its type and its options. Each process calls the function to make a store
    over the same documents, so it must be at the top of a module. The suite uses new names of
    collections each time, so that a server may be shared. An asynchronous store passes the same
    tests.

    `slow`: the store does about one transaction a second where many want the same document, so
    fewer are run. `nested_lists`: whether it holds lists directly in lists. `refuses`: declares the
    names that it cannot hold.
    """
