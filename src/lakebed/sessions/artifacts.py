"""The results of a session: texts, bytes and tables, with their versions."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from lakebed.errors import NotFoundError, ValidationError
from lakebed.records import Entry
from lakebed.sessions import layout
from lakebed.sessions.base import Base, moment, shown
from lakebed.sessions.checks import (
    check_choice,
    check_key,
    check_object,
    check_session_id,
    check_text,
)
from lakebed.sessions.records import ARTIFACT_TYPES, Artifact
from lakebed.values.tables import is_table


class Artifacts(Base):
    """The calls on artifacts."""

    def add_artifact(
        self,
        session_id: str,
        type: str,  # noqa: A002
        name: str,
        content: Any,
        format: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        if_match: str | None = None,
        if_absent: bool = False,
    ) -> Artifact:
        """Store a result. If the session has an artifact of this type and name, it gets a new
        version.

        `type`: code, document, research, prd or report. `content`: a string, bytes or a table.
        `format`: its language or format, such as `python` or `markdown`; by default `text`, `bytes`
        or `table`. `metadata`: a JSON object. `if_match`, `if_absent`: as for `Lake.store`. Raises
        NotFoundError if the session does not exist, and ConflictError if a condition does not hold.
        """
        place = self._artifact_key(session_id, type, name)
        if not isinstance(content, (str, bytes)) and not is_table(content):
            kind = content.__class__.__name__
            raise ValidationError(f"content must be text, bytes or a table, got {kind}")
        default = "text" if isinstance(content, str) else "bytes"
        shown_format = default if isinstance(content, (str, bytes)) else "table"
        if format is not None:
            shown_format = check_text("format", format, most=100)
        extra = check_object("metadata", metadata)
        with self._changing(session_id) as (tx, now):
            old = self.lake.entry(place)
            created = shown(now) if old is None else old.metadata["created"]
            tx.store(
                place,
                content,
                {
                    "kind": "artifact", "session": session_id, "type": type, "name": name,
                    "format": shown_format, "created": created, "updated": shown(now),
                    "metadata": extra,
                },
                if_match=if_match,
                if_absent=if_absent,
            )  # fmt: skip
        return self.artifact(session_id, type, name)

    def artifact(
        self,
        session_id: str,
        type: str,  # noqa: A002
        name: str,
        *,
        version: int | None = None,
    ) -> Artifact:
        """Return an artifact as it is now, or in one of the versions that `artifact_history` lists.

        Raises NotFoundError if the artifact or the version does not exist.
        """
        place = self._artifact_key(session_id, type, name)
        found: Entry | None = self.lake.entry(place)
        if version is not None:
            kept = self.lake.history(place)
            found = next((old for old in kept if old.version == version), None)
        if found is None:
            which = "" if version is None else f" in version {version}"
            raise NotFoundError(f"no {type} {name!r}{which} in the session {session_id!r}")
        return _artifact(session_id, found)

    def artifacts(self, session_id: str, *, type: str | None = None) -> Iterator[Artifact]:  # noqa: A002
        """Yield the artifacts of a session, by type and name. They are read as you iterate."""
        if type is not None:
            check_choice("type", type, ARTIFACT_TYPES)
        prefix = layout.parts(check_session_id(session_id), "artifact")
        for entry in self.lake.list(prefix + (f"{type}/" if type else "")):
            yield _artifact(session_id, entry)

    def artifact_history(self, session_id: str, type: str, name: str) -> list[Artifact]:  # noqa: A002
        """Return the versions of an artifact that the lake keeps, newest first.

        A lake with `history="all"` keeps all versions. Any other lake keeps the current version and
        those in snapshots.
        """
        kept = self.lake.history(self._artifact_key(session_id, type, name))
        return [_artifact(session_id, version) for version in kept]

    def diff_artifact(
        self,
        session_id: str,
        type: str,  # noqa: A002
        name: str,
        a: int,
        b: int | None = None,
    ) -> str:
        """Return the changes from version `a` of a text to version `b`, as a unified diff.

        Without `b`, compare with the current version. Raises ValidationError if a version is not
        text, and NotFoundError if it does not exist.
        """
        sides = []
        for version in (a, b):
            found = self.artifact(session_id, type, name, version=version)
            if not isinstance(found.content, str):
                raise ValidationError(f"{name!r} is not text in version {found.version}")
            sides.append((found.content.splitlines(keepends=True), found))
        (old, first), (new, second) = sides
        names = (f"{name} version {first.version}", f"{name} version {second.version}")
        lines = difflib.unified_diff(old, new, *names)
        return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)

    def delete_artifact(self, session_id: str, type: str, name: str) -> bool:  # noqa: A002
        """Delete an artifact. Returns whether it existed."""
        place = self._artifact_key(session_id, type, name)
        if place not in self.lake:
            return False
        with self._changing(session_id) as (tx, _):
            return tx.delete(place)

    def _artifact_key(self, session_id: str, type: str, name: str) -> str:  # noqa: A002
        check_session_id(session_id)
        check_choice("type", type, ARTIFACT_TYPES)
        part = layout.escaped(check_key("name", name))
        return f"{layout.parts(session_id, 'artifact')}{type}/{part}"


def _artifact(session_id: str, entry: Entry) -> Artifact:
    about = entry.metadata
    return Artifact(
        session_id=session_id,
        type=about["type"],
        name=about["name"],
        content=entry.value,
        format=about["format"],
        metadata=about["metadata"],
        version=entry.version,
        created=moment(about["created"]),
        updated=moment(about["updated"]),
        content_hash=entry.content_hash,
    )
