"""Takes entries from a queue: each goes to one of many callers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime

from lakebed.catalog.signals import Signals
from lakebed.clock import from_micros
from lakebed.errors import ValidationError
from lakebed.lake.checks import check_key, check_prefix
from lakebed.lake.entries.writing import Writing
from lakebed.records import Entry


class Taking(Writing):
    """The calls of a lake that take."""

    def take(self, prefix: str, into: str) -> Entry | None:
        """Rename the first entry whose key begins with `prefix`, so that it begins with `into`, and
        return it under its new key. Return None if there is no such entry.

        If many call this at once, each gets another entry, in about the order of keys. On Postgres,
        an entry that another caller is taking is skipped. Value, metadata, expiry and `created_at`
        stay the same. The version is new.

        Raises ConflictError if the new key exists already, and ValidationError if `into` begins
        with `prefix`, because entries would be taken again.
        """
        self._must_write("take")
        check_key(prefix, "prefix")
        if check_key(into, "into").startswith(prefix):
            raise ValidationError(f"into must not begin with prefix, got {into!r}")
        row = self._catalog.take(*check_prefix(prefix), len(prefix), into)
        return None if row is None else self._entry(row)

    def signal(self, topic: str) -> None:
        """Wake those who listen to a topic, which is any text.

        On Postgres they wake at once. On other catalogs this does nothing.
        """
        self._catalog.signal(check_key(topic, "topic"))

    def listen(self, topic: str) -> AbstractContextManager[Signals]:
        """Open a block in which `wait(seconds)` ends when somebody signals the topic.

            with lake.listen("news") as signals:
                signals.wait(10)

        `signals.wakes` tells whether signals can arrive. If it is False, a wait takes its full
        time. A wait may also end early without a signal, so check for yourself what has changed. On
        Postgres, the block takes a separate connection.
        """
        return self._catalog.listen(check_key(topic, "topic"))

    def now(self) -> datetime:
        """Return the time by which the lake judges expiry: that of its database, in UTC."""
        return from_micros(self._catalog.now())
