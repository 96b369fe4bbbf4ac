"""What a client remembers of the catalog, so that a commit may begin without asking."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lakebed.catalog.hrana.protocol import GUESS, Statement
from lakebed.catalog.hrana.transaction import HranaTransaction
from lakebed.catalog.statements.executor import Row
from lakebed.model import Content, ContentId, EntryRow

_STATE = 4  # columns of a row that tell of the catalog, before those that tell of the key
_ABSENT = (None,) * (len(EntryRow._fields) + 1)  # the last one is the id of its object
_KEYS = 1000  # whose rows are remembered, the last ones
_VALUE = 4096  # bytes of text or content in a row that is remembered
_MOST = 20  # keys in a commit that does not ask
_MOST_BYTES = 1 << 16  # of contents, which are sent a second time after a wrong guess


class Answer(NamedTuple):
    """What a commit has to know.

    `rows`: for each key what `lock_entries` tells. `objects`: the id of each content that the
    catalog holds or is given by the commit, and whether it is inline. `created`: those that are
    new. `last_object`: the greatest id, None if that is not known.
    """

    rows: Mapping[str, Row]
    objects: Mapping[ContentId, tuple[int, bool]]
    created: frozenset[ContentId]
    last_object: int | None

    def state(self) -> Row:
        """What the rows tell of the catalog."""
        return next(iter(self.rows.values()))[:_STATE]


class Memory:
    """The catalog as the last commit of this client has left it. Used under the client's gate.

    Whoever guesses from it lets the server compare the guess with the truth, in the transaction
    that relies on it. It is trusted as long as it turns out right: after a wrong guess, once what
    it would have said of a whole transaction was what the server said.
    """

    def __init__(self) -> None:
        self._trusted = True
        self._tx: HranaTransaction | None = None  # the last one that used it
        self._may_guess = False  # in that one
        self._state: Row | None = None
        self._rows: OrderedDict[str, Row | None] = OrderedDict()  # None: too large to remember
        self._holders: dict[ContentId, set[str]] = {}  # the keys of those rows, by their content
        self._last_object: int | None = None

    def begin(self, tx: HranaTransaction) -> None:
        """Forget what the transaction before has left if it was undone; and, if another one came
        between, what that may have changed."""
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
        """What the server will say, if that can be told and may be relied on."""
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
        """The object of a content that a remembered entry has."""
        for key in self._holders.get(content, ()):
            row = self._rows[key]
            assert row is not None
            return row[-1], EntryRow._make(row[:-1]).inline_value is not None
        return None

    def learn(self, answer: Answer, contents: Mapping[ContentId, Content]) -> None:
        """Compare what would have been guessed with the server's answer, and remember that."""
        expected = self._expect(list(answer.rows), contents)
        if expected is None:  # nothing is to be learned of its worth
            self._trusted &= self._may_guess
        else:
            self._trusted &= expected[:3] == answer[:3]
        self.note(
            answer.state(),
            {key: row[_STATE:] for key, row in answer.rows.items()},
            answer.last_object,
        )

    def note(self, state: Row, rows: Mapping[str, Row | None], last_object: int | None) -> None:
        """Remember the catalog's state, rows of keys (None for one that is gone), and the greatest
        id of an object."""
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
    """A statement that fails unless these two would be answered so. It follows the one that names
    the contents."""
    params: dict[str, object] = {"guess": GUESS, "created": len(answer.created)}

    def differs(asked: Statement, expected: Sequence[Row]) -> str:
        """Whether the server has a row that was not expected. It has one for each."""
        assert isinstance(asked.params, Mapping)
        params.update(asked.params)
        values = []
        for row in expected:
            names = [f"g{len(params) + n}" for n in range(len(row))]
            params.update(zip(names, row, strict=True))
            values.append(f"({', '.join(f':{name}' for name in names)})")
        # The texts are the catalog's own.
        return f"EXISTS (SELECT * FROM ({asked.sql}) EXCEPT VALUES {', '.join(values)})"  # noqa: S608

    wrong = differs(rows, [(key, *row) for key, row in answer.rows.items()])
    if objects is not None:
        found = [(*content, *there) for content, there in answer.objects.items()]
        wrong += f" OR changes() <> :created OR {differs(objects, found)}"
    return Statement(f"SELECT CASE WHEN {wrong} THEN json_extract('{{}}', :guess) END", params)
