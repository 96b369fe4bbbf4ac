"""Remembers the state of the catalog, so that a commit can begin without asking the server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lakebed.catalog.hrana.protocol import GUESS, Statement
from lakebed.catalog.hrana.transaction import HranaTransaction
from lakebed.catalog.statements.executor import Row
from lakebed.model import Content, ContentId, EntryRow

_STATE = 4  # the first columns of a row, which describe the catalog, not the key
_ABSENT = (None,) * (len(EntryRow._fields) + 1)  # the last column is the id of the object
_KEYS = 1000  # the number of keys whose rows are remembered, the latest
_VALUE = 4096  # the most bytes of text and content in a remembered row
_MOST = 20  # the most keys in a commit that guesses
_MOST_BYTES = 1 << 16  # of contents in such a commit, which a wrong guess makes it send twice


class Answer(NamedTuple):
    """The state that a commit needs to know.

    `rows`: the row of `lock_entries` for each key. `objects`: the id of each content, and whether
    it is inline. These are contents that the catalog holds, or that the commit adds. `created`: the
    new contents. `last_object`: the greatest id, or None if it is not known.
    """

    rows: Mapping[str, Row]
    objects: Mapping[ContentId, tuple[int, bool]]
    created: frozenset[ContentId]
    last_object: int | None

    def state(self) -> Row:
        """Return the columns that describe the catalog, which all rows share."""
        return next(iter(self.rows.values()))[:_STATE]


class Memory:
    """The catalog as this client's last commit left it. Used under the client's gate.

    The server compares each guess with the truth, in the transaction that relies on the guess.
    After a wrong guess the memory is not used. It is used again once it would have been right about
    a whole transaction.
    """

    def __init__(self) -> None:
        self._trusted = True
        self._tx: HranaTransaction | None = None  # the last transaction that used the memory
        self._may_guess = False  # whether that transaction may guess
        self._state: Row | None = None
        self._rows: OrderedDict[str, Row | None] = OrderedDict()  # None: the row is too large
        self._holders: dict[ContentId, set[str]] = {}  # the keys of these rows, by content
        self._last_object: int | None = None

    def begin(self, tx: HranaTransaction) -> None:
        """Prepare for a transaction.

        If the previous transaction was undone, everything is forgotten. If another transaction came
        between, the state is forgotten, which that one may have changed.
        """
        if self._tx is tx:
            return
        if self._tx is not None and not self._tx.committed:
            self._trusted, self._state = False, None
            self._rows.clear()
            self._holders.clear()
        if self._tx is not None and self._tx.number + 1 != tx.number:
            self._state = None
        self._tx, self._may_guess, self._trusted = tx, self._trusted, True

    def guess(
        self, tx: HranaTransaction, keys: Sequence[str], contents: Mapping[ContentId, Content]
    ) -> Answer | None:
        """Return the answer that the server will give, or None if it must be asked."""
        size = sum(len(content.inline_value or b"") for content in contents.values())
        if not tx.guesses or not self._may_guess or len(keys) > _MOST or size > _MOST_BYTES:
            return None
        return self._expect(keys, contents)

    def _expect(self, keys: Sequence[str], contents: Mapping[ContentId, Content]) -> Answer | None:
        if self._state is None:
            return None
        rows = dict[str, Row]()
        for key in keys:
            row = self._rows.get(key, _ABSENT)
            if row is None:
                return None
            rows[key] = self._state + row
        objects = {content: found for content in contents if (found := self._object(content))}
        created = [content for content in contents if content not in objects]
        last = self._last_object
        if created:
            if last is None:
                return None
            objects |= {content: (last + n, True) for n, content in enumerate(created, 1)}
            last += len(created)
        return Answer(rows, objects, frozenset(created), last)

    def _object(self, content: ContentId) -> tuple[int, bool] | None:
        """Return the id of a content's object and whether it is inline, if an entry of it is
        known."""
        for key in self._holders.get(content, ()):
            row = self._rows[key]
            assert row is not None
            return row[-1], EntryRow._make(row[:-1]).inline_value is not None
        return None

    def learn(self, answer: Answer, contents: Mapping[ContentId, Content]) -> None:
        """Compare the server's answer with the guess that would have been made, and remember it."""
        expected = self._expect(list(answer.rows), contents)
        if expected is None:  # there would have been no guess
            self._trusted &= self._may_guess
        else:
            self._trusted &= expected[:3] == answer[:3]
        self.note(
            answer.state(),
            {key: row[_STATE:] for key, row in answer.rows.items()},
            answer.last_object,
        )

    def note(self, state: Row, rows: Mapping[str, Row | None], last_object: int | None) -> None:
        """Remember the catalog's state, the rows of keys, and the greatest id of an object.

        A row is None if the key is gone.
        """
        self._state, self._last_object = state, last_object
        for key, row in rows.items():
            self._forget(key)
            if row is None or row[0] is None:
                continue
            size = sum(len(value) for value in row if isinstance(value, (str, bytes)))
            self._rows[key] = row if size <= _VALUE else None
            if size <= _VALUE:
                self._holders.setdefault(_content(row), set()).add(key)
        while len(self._rows) > _KEYS:
            self._forget(next(iter(self._rows)))

    def _forget(self, key: str) -> None:
        row = self._rows.pop(key, None)
        if row is not None:
            content = _content(row)
            self._holders[content].discard(key)
            if not self._holders[content]:
                del self._holders[content]


def _content(row: Row) -> ContentId:
    entry = EntryRow._make(row[:-1])
    return entry.content_hash, entry.format


def comparison(rows: Statement, objects: Statement | None = None, *, answer: Answer) -> Statement:
    """Return a statement that fails unless `rows` and `objects` would give this answer.

    It must directly follow the statement that names the contents.
    """
    params: dict[str, object] = {"guess": GUESS, "created": len(answer.created)}

    def differs(asked: Statement, expected: Sequence[Row]) -> str:
        """Return SQL for: the server gives a row that was not expected."""
        assert isinstance(asked.params, Mapping)
        params.update(asked.params)
        values = []
        for row in expected:
            names = [f"g{len(params) + n}" for n in range(len(row))]
            params.update(zip(names, row, strict=True))
            values.append(f"({', '.join(f':{name}' for name in names)})")
        # The SQL texts are the catalog's own.
        return f"EXISTS (SELECT * FROM ({asked.sql}) EXCEPT VALUES {', '.join(values)})"  # noqa: S608

    wrong = differs(rows, [(key, *row) for key, row in answer.rows.items()])
    if objects is not None:
        found = [(*content, *there) for content, there in answer.objects.items()]
        wrong += f" OR changes() <> :created OR {differs(objects, found)}"
    return Statement(f"SELECT CASE WHEN {wrong} THEN json_extract('{{}}', :guess) END", params)
