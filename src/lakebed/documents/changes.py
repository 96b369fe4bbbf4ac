"""What each call makes of a document, as a function of the document before."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lakebed.documents.data import Data
from lakebed.documents.fields import created, merged, read_update, updated
from lakebed.errors import NotFoundError, ValidationError

Change = Callable[[Data | None], Data]


def replacement(data: object, now: str) -> Data:
    """Return a document that replaces any other."""
    return created(_fields(data), now)


def merge(data: object, now: str) -> Change:
    """Merge fields into a document. If there is none, the fields become the document."""
    fields = _fields(data)
    return lambda old: merged(old or {}, fields, now)


def update(collection: str, doc_id: str, data: object, now: str) -> Change:
    """Change fields at paths of an existing document. Raises NotFoundError if there is none."""
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
