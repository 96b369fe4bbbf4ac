"""Terms for the shapes of metadata, by which the metadata index finds entries that lack a field.

Only a database with partial indexes has them: entries without metadata have no term, and a partial
index finds those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lakebed.catalog.statements.executor import Params, Row, Transaction

if TYPE_CHECKING:
    from lakebed.filters import Alternative, Fields, Term

BARE = "bare_entries"
"""The query for the entries without metadata, which not every dialect has."""
_MOST = 64
"""The number of shapes that are defined. A filter may need a range of the index for each."""
_SHARE = 200
"""A shape is defined if one in so many of the entries that are indexed together has it."""


class Shapes:
    """Gives entries the terms of their shapes, and resolves filters by them."""

    def __init__(self, queries: Mapping[str, str]) -> None:
        self._queries = queries
        self._known = BARE in queries

    def add_terms(self, terms: Iterable[list[Term]]) -> Counter[Fields]:
        """Add the term of its shape to the terms of each entry. Return how many have which."""
        from lakebed.filters import shape, shape_term

        counts: Counter[Fields] = Counter()
        for found in terms if self._known else ():
            fields = shape(found)
            if fields is not None:
                found.append(shape_term(fields))
                counts[fields] += 1
        return counts

    def define(self, tx: Transaction, counts: Counter[Fields], entries: int) -> None:
        """Define the common shapes of so many entries."""
        from lakebed.filters import DEFINITIONS, definition

        common = [fields for fields, count in counts.most_common() if count * _SHARE >= entries]
        if not common:
            return
        defined = self._definitions(tx.all)
        new = [value for f in common if (value := definition(f)) and value not in defined]
        tx.many(
            self._queries["add_metadata_term"],
            [{"path": DEFINITIONS, "value": v, "version": 0} for v in new[: _MOST - len(defined)]],
        )

    def undefine(self, tx: Transaction, counts: Counter[Fields]) -> None:
        """Drop the definitions of shapes that no indexed entry has any more.

        A definition has the names of fields, which a purge must remove.
        """
        from lakebed.filters import definition, definition_range, shape_term

        if not counts:
            return
        defined = self._definitions(tx.all)
        for fields in (fields for fields in counts if definition(fields) in defined):
            (path, low, high), (shapes, _) = definition_range(fields), shape_term(fields)
            params = {"path": path, "from": low, "to": high, "shapes": shapes}
            tx.run(self._queries["drop_shape"], params)

    def resolve(
        self, narrowing: Sequence[Alternative], fetch: Callable[[str, Params], Sequence[Row]]
    ) -> list[tuple[Alternative, bool]]:
        """Return the alternatives as ranges of terms, and whether to add entries without metadata.

        An alternative is left out if the index cannot tell which entries lack its fields.
        """
        from lakebed.filters import by_shape, lacked

        resolved = [(a, False) for a in narrowing if not lacked(a)]
        if self._known and len(resolved) < len(narrowing):
            defined = self._definitions(fetch)
            found = (by_shape(a, defined) for a in narrowing if lacked(a))
            resolved += [(alternative, True) for alternative in found if alternative]
        return resolved

    def _definitions(self, fetch: Callable[[str, Params], Sequence[Row]]) -> set[bytes]:
        from lakebed.filters import DEFINITIONS

        rows = fetch(self._queries["shapes"], {"path": DEFINITIONS, "page": _MOST})
        return {bytes(value) for (value,) in rows}
