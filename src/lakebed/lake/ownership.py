"""Decides which copy of a catalog may change its storage.

A catalog that is copied (a dump restored elsewhere, a copied file) names the same objects as its
original. Each would delete objects that only the other one needs. So the storage bears a mark that
names one copy as its owner, and each copy notes its own identity. See docs/design/ownership.md.
"""

# No `annotations` from __future__ here: a NamedTuple compiles each that is text, at each start.

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, NamedTuple, Protocol

from lakebed.catalog.identity import Identity, Owned
from lakebed.catalog.protocol import Catalog
from lakebed.clock import from_micros
from lakebed.errors import LakebedError, ReadOnlyError
from lakebed.objects.names import upload_of
from lakebed.objects.store import ObjectStore

BESIDE = "."
"""The storage of a lake in one folder, which also holds the catalog. It is copied with the catalog,
so it needs no mark."""
SETTING = "owner"
"""The setting in which a catalog keeps its note."""
FOLDER = "objects/owner"
"""The folder of the marks in a storage. Each lake has one, named by the lake's id."""

_EVERY = 30.0  # seconds after which a writer looks at the mark again
_PATIENCE = 3.0  # seconds that a writer waits for the storage, which its call may not need
_RENEW = 60_000_000  # microseconds after which upkeep writes a new token
_SETTLE = 48 * 3_600_000_000  # microseconds without deletions, after the catalog has moved
_STALE = _SETTLE // 4  # microseconds after which any writer writes a new token
_TOKENS = 16  # tokens that a catalog remembers: several may be on their way to the storage


class Note(NamedTuple):
    """What a catalog knows of its ownership.

    `exact`, `likely`: its identity when it wrote the note. `tokens`: the tokens that it gave the
    mark, the newest last. `moved`: since when it has been on another server, in microseconds; 0 if
    it has not moved.
    """

    exact: str
    likely: str
    tokens: tuple[str, ...]
    moved: int = 0

    @staticmethod
    def read(text: str | None) -> "Note | None":
        """Return the note in the text of a setting, or None if the text is empty."""
        import json

        if not text:
            return None
        exact, likely, tokens, moved = json.loads(text)
        return Note(exact, likely, tuple(tokens), moved)

    def text(self) -> str:
        """Return the text of the setting."""
        import json

        return json.dumps(self)

    def judge(self, here: Identity | None) -> Literal["same", "moved", "copy"]:
        """Judge the catalog that bears this note by its present identity: the same as before, moved
        to another server, or a copy."""
        if here is None or not self.exact or here.exact == self.exact:
            return "same"
        return "moved" if here.likely == self.likely else "copy"


class Mark(NamedTuple):
    """What a storage knows of the catalog that owns it.

    `token`: the newest token of the catalog's note. `catalog`: the catalog's name, for people.
    `storage`: the URI that was marked, because a copied storage contains a copy of the mark.
    """

    token: str
    catalog: str
    storage: str


class OwnedCatalog(Owned, Catalog, Protocol):
    """A catalog that can be told from its copies."""


class Ownership:
    """Keeps a copy of a catalog from changing a storage that another copy owns.

    `catalog`, `objects`: the catalog and the storage of the lake. `name`: the catalog's name, as it
    may be shown.
    """

    def __init__(
        self, catalog: OwnedCatalog, objects: ObjectStore, lake_id: str, name: str
    ) -> None:
        self._catalog = catalog
        self._objects = objects
        self._path = f"{FOLDER}/{lake_id}"
        self._name = name
        self._look_at = 0.0
        self.refusal: str | None = None
        """Why the lake must not write, or None if it may."""

    def begin(self, setting: str | None, *, new: bool) -> None:
        """Judge the catalog by its note when the lake is opened.

        A new lake's note is written here, an old lake's by its first upkeep.
        """
        if setting is None and new:
            self._renew()
            return
        note = Note.read(setting)
        if note is not None and note.judge(self._catalog.identity()) == "copy":
            self.refusal = (
                f"the catalog {self._name} is a copy of the catalog that owns {self._storage}"
            )

    def must_look(self) -> bool:
        """Return whether `require` has anything to do, which is false for most stores."""
        return self.refusal is not None or time.monotonic() >= self._look_at

    def require(self, call: str) -> None:
        """Raise ReadOnlyError for a call that writes if another copy of the catalog owns the
        storage.

        The storage is asked every 30 seconds. If it does not answer within 3 seconds, nothing is
        refused: values that stay in the catalog do not need it.
        """
        if self.refusal is None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _EVERY
            self._look()
        if self.refusal is not None:
            raise ReadOnlyError(
                f"{call} writes, but {self.refusal}. Only one copy may write, because each would "
                "delete objects that the other needs. To make this copy the owner, and the other "
                "one read-only, run `lakebed adopt`"
            )

    def examine(self) -> str | None:
        """Return why the lake must not write, or None if it may. Asks the storage now, and changes
        nothing."""
        if self.refusal is None:
            self._compare(self._read_mark())
        return self.refusal

    def require_deletion(self, call: str) -> None:
        """Raise ReadOnlyError for a call that deletes bytes unless this copy owns the storage.

        A catalog that has moved to another server, such as a standby that took over, must wait for
        two days. If it is a clone, its original renews the mark in that time.

        Raises StorageError if the storage does not answer.
        """
        mark = self._read_mark()
        note = self._compare(mark)
        self._look_at = max(self._look_at, time.monotonic() + _EVERY)
        self.require(call)
        now, here = self._catalog.now(), self._catalog.identity()
        verdict = "same" if note is None else note.judge(here)
        if note is None:
            self._put_mark(self._renew())
        elif verdict != "same" and now - (note.moved or now) < _SETTLE:
            if not note.moved:
                self._change(lambda old: (old or note)._replace(moved=now))
            ends = from_micros((note.moved or now) + _SETTLE)
            raise ReadOnlyError(
                f"{call} deletes nothing in {self._storage} before {ends:%Y-%m-%d %H:%M} UTC: the "
                f"catalog {self._name} is on another server than before. If it is a clone and not "
                "a failover, its original still needs the objects. If it is the only one in use, "
                "run `lakebed adopt`"
            )
        elif mark is None or verdict != "same" or now - _age(note.tokens[-1]) >= _RENEW:
            self._put_mark(self._renew(keep=True))

    def adopt(self) -> Mark | None:
        """Make this copy the owner. Returns the mark that was there before."""
        mark = self._read_mark()
        self._put_mark(self._renew())
        self.refusal = None
        return mark

    def arrive(self) -> None:
        """Become the owner of the storage to which the lake has been relocated, unless another
        catalog keeps its objects there.

        A mark that was copied along with the objects names another place, and is ignored.
        """
        mark = self._read_mark()
        note = Note.read(self._catalog.remember(SETTING, "", keep=False))
        known = note is not None and mark is not None and mark.token in note.tokens
        if mark is None or mark.storage != self._storage or (known and self.refusal is None):
            self._put_mark(self._renew())
            self.refusal = None

    def strangers(self) -> list[str]:
        """Return the ids of other lakes that keep their objects under the same root."""
        found = {upload_of(file.path) for file in self._objects.list(FOLDER)}  # or being written
        return [path.rpartition("/")[2] for path in sorted(found - {self._path})]

    @property
    def _storage(self) -> str:
        return self._objects.uri("").rstrip("/")

    def _look(self) -> None:
        """Compare the mark with the note, if the storage answers soon."""
        found = list[Mark | None]()
        with suppress(LakebedError):
            self._objects.site()  # loads the filesystem's modules, outside the time limit

        def read() -> None:
            with suppress(LakebedError):  # a call that needs the storage raises its own error
                found.append(self._read_mark())

        reader = threading.Thread(target=read, daemon=True, name="lakebed-owner")
        reader.start()
        reader.join(_PATIENCE)
        if not found:
            return
        note = self._compare(found[0])
        if note is None or self.refusal is not None:
            return
        with suppress(LakebedError):  # only upkeep needs the mark, and it raises the error
            if found[0] is None:
                self._put_mark(note)
            elif self._is_stale(note):
                self._put_mark(self._renew(keep=True))

    def _is_stale(self, note: Note) -> bool:
        """Return whether the token is so old that a clone could believe this catalog to be dead."""
        old = self._catalog.now() - _age(note.tokens[-1]) >= _STALE
        return old and note.judge(self._catalog.identity()) == "same"

    def _compare(self, mark: Mark | None) -> Note | None:
        """Return the catalog's note, read after the mark. If they do not agree, set `refusal`."""
        note = Note.read(self._catalog.remember(SETTING, "", keep=False))
        if mark is not None and (note is None or mark.token not in note.tokens):
            self.refusal = (
                f"the catalog {self._name} no longer owns {self._storage}: the owner is now "
                f"{mark.catalog or 'another copy of it'}"
            )
        return note

    def _renew(self, *, keep: bool = False) -> Note:
        """Note that this catalog, in its present place, is the owner. Adds a new token for the
        mark.

        The note is written first, so that the mark never has a token that the catalog does not
        know. `keep`: earlier tokens stay valid, because several clients may renew at once.
        """
        now, here = self._catalog.now(), self._catalog.identity() or Identity("", "")
        token = f"{now}-{os.urandom(8).hex()}"

        def change(old: Note | None) -> Note:
            tokens = old.tokens if keep and old is not None else ()
            return Note(*here, (*tokens, token)[-_TOKENS:])

        return self._change(change)

    def _change(self, change: Callable[[Note | None], Note]) -> Note:
        text = self._catalog.change_setting(SETTING, lambda old: change(Note.read(old)).text())
        note = Note.read(text)
        assert note is not None
        return note

    def _put_mark(self, note: Note) -> None:
        _write(self._objects, self._path, Mark(note.tokens[-1], self._name, self._storage))

    def _read_mark(self) -> Mark | None:
        import json

        try:
            data = self._objects.read(self._path)
        except FileNotFoundError:
            return None
        try:
            found = json.loads(data)
            return Mark(str(found["token"]), str(found["catalog"]), str(found["storage"]))
        except (ValueError, TypeError, KeyError):
            # Unreadable: nobody's, until a copy adopts the storage.
            return Mark("", "", self._storage)


def take_from_others(catalog: Catalog, objects: ObjectStore, lake_id: str, name: str) -> None:
    """Mark a storage as that of a catalog which cannot be told from its copies, such as a shared
    log, and keeps no note of its own. Every other catalog of the lake is read-only from then on.
    Does nothing for other catalogs, which adopt a storage."""
    if isinstance(catalog, Owned) and catalog.identity() is not None:
        return
    token = f"{catalog.now()}-{os.urandom(8).hex()}"
    _write(objects, f"{FOLDER}/{lake_id}", Mark(token, name, objects.uri("").rstrip("/")))


def _write(objects: ObjectStore, path: str, mark: Mark) -> None:
    import json

    with objects.open_write(path) as file:
        file.write(json.dumps(mark._asdict()).encode())


def _age(token: str) -> int:
    """Return the time at which a token was made, in microseconds."""
    return int(token.partition("-")[0])
