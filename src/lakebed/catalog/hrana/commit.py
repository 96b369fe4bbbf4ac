"""Commits in few requests: the client guesses the server's answers where it can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from lakebed.catalog.hrana.memory import Answer, Memory, comparison
from lakebed.catalog.hrana.protocol import Statement
from lakebed.catalog.hrana.transaction import HranaTransaction
from lakebed.catalog.sql.commit import Commit
from lakebed.catalog.statements.executor import Params, Row, Transaction
from lakebed.model import Change, Content, ContentId, Delete, Outcome, Put, Upload

_TOGETHER = 100  # changes whose keys are looked for in one request
_BYTES = 1 << 20
_FIND = """
SELECT "content_hash", "format", "id", "inline_value" IS NOT NULL FROM object
WHERE "content_hash" IN ({})"""
_NAME = """
INSERT INTO object ("content_hash", "format", "byte_size", "inline_value", "created_at")
VALUES {} ON CONFLICT ("content_hash", "format") DO NOTHING RETURNING "content_hash", "format\""""
_CREATED = ("key", "version", "object_id", "metadata", "expires_at", "created_at", "now")
_CREATE = """
INSERT INTO entry ("key", "version", "object_id", "metadata", "expires_at", "created_at",
                   "updated_at") VALUES {}"""


def _rows(sql: str, rows: Sequence[Row]) -> str:
    """Return a statement that inserts these rows, with a `?` for each value."""
    mark = f"({', '.join('?' * len(rows[0]))})"
    return sql.format(", ".join([mark] * len(rows)))


def _flat(rows: Sequence[Row]) -> Row:
    return tuple(value for row in rows for value in row)


class WiredCommit(Commit):
    """A commit in fewer requests.

    The client guesses the state that the changes start from. The request that commits also compares
    the guess with the truth. Without a guess, the request that names the contents also asks for the
    state. Statements whose answers nobody needs are sent with the commit.
    """

    def __init__(
        self,
        tx: Transaction,
        queries: Mapping[str, str],
        now: int,
        memory: Memory,
        *,
        keep_all: bool,
    ) -> None:
        super().__init__(tx, queries, now, keep_all=keep_all)
        self._wire = cast(HranaTransaction, tx)
        self._memory = memory
        self._coming: list[Change] = []  # the first change of each key; the next one is last
        self._rows: dict[str, Row] = {}  # of the keys whose changes come next
        self._objects: dict[ContentId, tuple[int, bool]] = {}
        self._new: set[ContentId] = set()  # named by this commit, not yet taken by an entry
        self._state: Row | None = None  # of the catalog, once it is known
        self._last_object: int | None = None
        self._object_ids: dict[str, int] = {}  # of the entries that this commit has written
        self._created: list[Row] = []

    def run(self, changes: Sequence[Change], uploads: Sequence[Upload] = ()) -> list[Outcome]:
        outcomes = super().run(changes, uploads)
        self._create()
        if self._state is not None:
            self._remember(self._state, changes, outcomes)
        return outcomes

    def _apply_all(self, changes: Sequence[Change]) -> list[Outcome]:
        first: dict[str, Change] = {}
        for change in changes:
            first.setdefault(change.key, change)
        self._coming = [first[key] for key in sorted(first, reverse=True)]
        return super()._apply_all(changes)

    # The state that changes start from.

    def _lock(self, change: Change) -> Row:
        if change.key not in self._rows:
            again = not self._coming or self._coming[-1].key != change.key
            self._look([change] if again else self._take_some())
        return self._rows.pop(change.key)

    def _take_some(self) -> list[Change]:
        """Return the next changes, as many as one request may hold."""
        some, size = list[Change](), 0
        while self._coming and len(some) < _TOGETHER and size < _BYTES:
            some.append(self._coming.pop())
            size += len(_inline(some[-1]) or b"")
        return some

    def _look(self, changes: Sequence[Change]) -> None:
        """Find the rows of the keys of changes, and name their contents.

        If a change is refused later, the transaction is undone, and so are these names.
        """
        self._create()  # a key may occur a second time
        keys = [change.key for change in changes]
        contents = {
            put.content.id: put.content
            for put in changes
            if isinstance(put, Put) and _inline(put) is not None
        }
        answer, first = None, self._state is None
        if first:
            self._memory.begin(self._wire)
            answer = self._memory.guess(self._wire, keys, contents)
        if answer is not None:
            self._rely(answer, contents)
        else:
            answer = self._ask(keys, contents)
            if first:
                self._memory.learn(answer, contents)
        self._state = self._state or answer.state()
        self._rows.update(answer.rows)
        self._objects.update(answer.objects)
        self._new.update(answer.created)
        self._last_object = answer.last_object

    def _rely(self, answer: Answer, contents: Mapping[ContentId, Content]) -> None:
        """Have the server compare a guess when it commits."""
        keys, naming = self._of_keys(list(answer.rows)), self._naming(contents)
        self._wire.assume(*naming[:1], comparison(keys, *naming[1:], answer=answer))

    def _ask(self, keys: Sequence[str], contents: Mapping[ContentId, Content]) -> Answer:
        asked = [self._of_keys(keys), *self._naming(contents)]
        found, *named, last = self._wire.together(*asked, Statement(self._queries["last_object"]))
        created, objects = (result.rows for result in named) if named else ([], [])
        return Answer(
            {row[0]: row[1:] for row in found.rows},
            {row[:2]: (row[2], bool(row[3])) for row in objects},
            frozenset(row[:2] for row in created),
            last.rows[0][0],
        )

    def _of_keys(self, keys: Sequence[str]) -> Statement:
        import orjson

        return Statement(self._queries["lock_entries"], {"keys": orjson.dumps(keys).decode()})

    def _naming(self, contents: Mapping[ContentId, Content]) -> list[Statement]:
        """Return the statement that names contents and the one that finds their objects, if any."""
        if not contents:
            return []
        rows = [(*content[:4], self._now) for content in contents.values()]
        hashes = dict.fromkeys(content_hash for content_hash, _ in contents)
        names = {f"h{number}": content_hash for number, content_hash in enumerate(hashes)}
        find = _FIND.format(", ".join(f":{name}" for name in names))
        return [Statement(_rows(_NAME, rows), _flat(rows)), Statement(find, names)]

    # Writing.

    def _do(self, name: str, params: Params) -> None:
        if name in ("create_entry", "put_entry"):
            self._object_ids[params["key"]] = params["object_id"]
        if name == "create_entry":
            self._created.append(tuple(params[column] for column in _CREATED))
            if len(self._created) < _TOGETHER:
                return
        self._create()
        if name != "create_entry":
            self._wire.later(self._queries[name], params)

    def _create(self) -> None:
        """Create the entries that are new."""
        rows, self._created = self._created, []
        if rows:
            self._wire.later(_rows(_CREATE, rows), _flat(rows))

    def _object(self, content: Content) -> tuple[int, Row, bool]:
        object_id, inline = self._objects.get(content.id, (0, False))
        if content.inline_value is None or not inline:  # it is in the lake
            self._last_object = None
            return super()._object(content)
        new = content.id in self._new
        self._new.discard(content.id)  # later changes find it there
        return object_id, (content.inline_value, None, content.position), not new

    def _remember(self, state: Row, changes: Sequence[Change], outcomes: Sequence[Outcome]) -> None:
        """Remember the state of the catalog for the next commit."""
        rows = {
            change.key: outcome.row and (*outcome.row, self._object_ids[change.key])
            for change, outcome in zip(changes, outcomes, strict=True)
            if outcome.changed or isinstance(change, Delete)
        }
        if self._last_object in self._lost:
            self._last_object = None
        self._memory.note((self._version, *state[1:]), rows, self._last_object)


def _inline(change: Change) -> bytes | None:
    """Return the bytes that a change brings to the catalog, or None."""
    return change.content.inline_value if isinstance(change, Put) else None
