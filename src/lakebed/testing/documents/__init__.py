"""The suite for stores of documents: `MetadataStoreConformance`."""

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

    `connect`: a function that makes a store, its type and its options. Several processes call the
    function to open the same documents, so it must be at the top of a module. The suite uses new
    collection names each time, so a server can be shared. An asynchronous store must pass the same
    tests.

    `slow`: set this if the store manages only about one transaction a second on one document. The
    suite then runs fewer. `nested_lists`: whether the store can hold lists directly in lists.
    `refuses`: returns which names the store cannot hold.
    """
