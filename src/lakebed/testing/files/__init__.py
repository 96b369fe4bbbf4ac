"""The suite for storages of files: `BlobStorageConformance`."""

from lakebed.testing.files.reading import (
    CleaningUp,
    Listing,
    Nesting,
    Presigning,
    PresigningRefusals,
    Reopening,
    RuleRefusals,
    Rules,
    Transitions,
)
from lakebed.testing.files.transfers import Transfers
from lakebed.testing.files.writing import Conditions, Paths, Writing

__all__ = ["BlobStorageConformance"]


class BlobStorageConformance(
    Writing,
    Conditions,
    Paths,
    Listing,
    Transfers,
    Presigning,
    PresigningRefusals,
    Rules,
    RuleRefusals,
    Transitions,
    CleaningUp,
    Nesting,
    Reopening,
):
    """The tests of a `BlobStorage`. Subclass it, and implement `open_storage`.

    `gaps`: the features that the storage does not have, each with the reason. Tests of these
    features must fail. If one passes, the suite fails.
    """
