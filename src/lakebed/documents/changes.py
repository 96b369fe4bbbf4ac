"""The changes that calls make to a document, each as a function of the document before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lakebed.documents.data import Data
from lakebed.documents.fields import created, merged, read_update, updated
from lakebed.errors import NotFoundError, ValidationError

Change = Callable[[Data | None], Data]


def replacement(data: object, now: str) -> Data:
    """Return a document that replaces any existing one."""
    return created(_fields(data), now)


def merge(data: object, now: str) -> Change:
    """Return a change that merges fields into a document, or makes a document of them if none
    exists."""
    fields = _fields(data)
    return lambda old: merged(old or {}, fields, now)


def update(collection: str, doc_id: str, data: object, now: str) -> Change:
    """Return a change of the fields at some paths of a document. It raises NotFoundError if the
    document does not exist."""
    changes = read_update(data)

    def change(old: Data | None) -> Data:
        if old is None:
            raise NotFoundError(f"no document {doc_id!r} in the collection {collection!r}")
        return updated(old, changes, now)

    return change


def _fields(data: object) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise ValidationError(f"data must be a dict, got {type(data).__name__}")
    return data
