"""Let only one process of many maintain a lake at a time, with a lease in the catalog.

The lease only saves work: two runs of the upkeep at once do no harm, so neither does a holder that
was paused past the end of its lease. The lease is a setting, which is changed in one transaction.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from lakebed.catalog.protocol import Catalog, ChangesSettings
from lakebed.clock import from_micros
from lakebed.errors import ConfigurationError, LakebedError
from lakebed.lake.checks import Deadline
from lakebed.lake.entries.stats import Upkeep

SETTING = "upkeep"
"""The name of the setting that holds the note."""
HOLD = 120_000_000
"""The microseconds after which a holder loses a lease that it does not renew."""
_RENEW = HOLD / 4 / 1_000_000  # seconds
_EARLY = 1_000_000  # a run may be early by this many microseconds, or by a tenth of `every`
_SLICE = 0.1  # seconds of work before a rest of the same length
_ERROR_CHARACTERS = 500


class Note(NamedTuple):
    """The content of the setting: the lease and the last run.

    The lease has the token of its holder, which is empty if nobody holds it. Times are in
    microseconds. 0 means never.
    """

    token: str = ""
    holder: str = ""
    until: int = 0
    began: int = 0
    ended: int = 0
    by: str = ""
    did: Mapping[str, int] | None = None
    failed: str = ""

    @staticmethod
    def read(text: str | None) -> Note:
        """Return the note in the text of the setting."""
        found = json.loads(text) if text else {}
        return Note(**{name: found[name] for name in Note._fields if name in found})

    def text(self) -> str:
        """Return the text of the setting."""
        return json.dumps(self._asdict())

    def free(self, now: int) -> bool:
        """Return whether anybody may take the lease."""
        return not self.token or self.until <= now

    def given_back(self) -> Note:
        """Return the note for a lease that nobody holds."""
        return self._replace(token="", holder="", until=0)

    def told(self, mode: str, now: int) -> Upkeep:
        """Return the note as `stats` shows it."""
        free = self.free(now)
        return Upkeep(
            mode=mode,
            holder=None if free else self.holder,
            until=None if free else from_micros(self.until),
            ran=from_micros(self.ended) if self.ended else None,
            by=self.by or None,
            seconds=(self.ended - self.began) / 1_000_000 if self.ended else None,
            did=None if self.did is None else dict(self.did),
            failed=self.failed or None,
        )


def note_of(catalog: Catalog) -> Note:
    """Return the note in a catalog."""
    return Note.read(catalog.remember(SETTING, "", keep=False))


def take_turn(
    catalog: Catalog,
    every: int,
    *,
    max_seconds: float | None = None,
    stop: threading.Event | None = None,
) -> Turn | None:
    """Take the lease, if nobody holds it and the last run began about `every` microseconds ago.

    `stop`: ends the turn when it is set, and makes it work in slices, with rests between them.
    Raises ConfigurationError for a catalog that cannot hold a lease.
    """
    if not isinstance(catalog, ChangesSettings):
        raise ConfigurationError(
            "upkeep in turn needs a catalog that can hold a lease, and this one cannot: call "
            "maintain from a job of your own"
        )
    now, token = catalog.now(), os.urandom(8).hex()

    def is_due(note: Note) -> bool:
        return note.free(now) and now - note.began >= every - max(every // 10, _EARLY)

    def take(text: str | None) -> str:
        note = Note.read(text)
        if is_due(note):
            who = f"{socket.gethostname()}, process {os.getpid()}"
            note = note._replace(token=token, holder=who, until=now + HOLD)
        return note.text()

    if not is_due(note_of(catalog)):  # usually a read is enough
        return None
    taken = Note.read(catalog.change_setting(SETTING, take)).token == token
    return Turn(catalog, catalog, token, now, max_seconds, stop) if taken else None


class Turn(Deadline):
    """The turn of a process to maintain the lake. Use it as a block.

    It ends at its deadline, when it is told to stop, or when the lease is lost. Leaving the block
    gives the lease back, and notes what was done.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: ChangesSettings,
        token: str,
        began: int,
        max_seconds: float | None,
        stop: threading.Event | None,
    ) -> None:
        super().__init__(max_seconds)
        self._catalog = catalog
        self._settings = settings
        self._token = token
        self._began = began
        self._stop = stop
        self._slice = time.monotonic()
        self._renew_at = self._slice + _RENEW
        self._lost = False
        self.did: dict[str, int] | None = None
        """The result of the run, once it has ended."""

    def passed(self) -> bool:
        """Return whether the turn is over.

        Between two slices of work this call sleeps, so that others who wait for a lock get it.
        """
        now = time.monotonic()
        if self._stop is not None and now - self._slice >= _SLICE:
            self._stop.wait(now - self._slice)
            now = self._slice = time.monotonic()
        if now >= self._renew_at:
            self._renew()
            self._renew_at = now + _RENEW
        return self._lost or self.stopped() or super().passed()

    def stopped(self) -> bool:
        """Return whether the turn was told to stop."""
        return self._stop is not None and self._stop.is_set()

    def _renew(self) -> None:
        until = self._catalog.now() + HOLD
        self._change(lambda note: note._replace(until=until))

    def _change(self, change: Callable[[Note], Note]) -> None:
        """Change the note, unless another process has taken the lease."""

        def changed(text: str | None) -> str:
            note = Note.read(text)
            return (change(note) if note.token == self._token else note).text()

        self._lost = Note.read(self._settings.change_setting(SETTING, changed)).token not in (
            self._token,
            "",
        )

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.did is not None and not self.stopped():
            self._note_run(self.did)
            return
        failed = str(error)[:_ERROR_CHARACTERS] if isinstance(error, LakebedError) else ""
        if self.stopped():
            failed = ""
        # After a failure, this may fail as well, and closing a lake must not wait for a lock. The
        # lease ends by itself.
        with suppress(LakebedError):
            self._change(lambda note: note.given_back()._replace(failed=failed or note.failed))

    def _note_run(self, did: dict[str, int]) -> None:
        ended = self._catalog.now()
        self._change(
            lambda note: note.given_back()._replace(
                began=self._began, ended=ended, by=note.holder, did=did, failed=""
            )
        )


def in_words(upkeep: Upkeep) -> str:
    """Return the text on the upkeep of a lake for `lakebed stats` and `lakebed doctor`."""
    parts = [upkeep.mode]
    if upkeep.ran is None:
        parts.append("no background run so far")
    else:
        did = ", ".join(f"{name} {count:,}" for name, count in (upkeep.did or {}).items() if count)
        parts.append(
            f"last run {upkeep.ran:%Y-%m-%d %H:%M:%S} UTC by {upkeep.by} in {upkeep.seconds:.1f} s "
            f"({did or 'nothing to do'})"
        )
    if upkeep.until is not None:
        parts.append(f"{upkeep.holder} is running it now, until {upkeep.until:%H:%M:%S} or longer")
    if upkeep.failed is not None:
        parts.append(f"the newest run failed: {upkeep.failed}")
    return "; ".join(parts)
