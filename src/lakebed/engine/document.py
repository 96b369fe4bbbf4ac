"""The content of an engine document: the validated settings of its parts, and its steps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import NamedTuple, NoReturn
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from lakebed.config.problems import Path, kind
from lakebed.config.reading.document import Document, read_document
from lakebed.config.reading.loading import Section, expand
from lakebed.engine.flat import blob_of, ltm_of, metadata_of, refuse_misspelt, words_in
from lakebed.engine.parts import DOCUMENTS, FILES, Part, validate_part
from lakebed.engine.steps import Step, read_steps
from lakebed.ltm.registry import backend_in
from lakebed.suggestions import closest

Where = str | os.PathLike[str] | Mapping[str, object]

_PARTS = ("ltm", "backends", "sessions")
_BACKENDS = ("metadata", "blob")
_SHORTEST = 4  # characters; shorter secrets are not masked, because every text contains them


class Plan(NamedTuple):
    """The content of a document.

    A part that is None is chosen from the environment. Without `sessions`, the sessions are in the
    lake of the memory. `env`: the variables that templates may see even if they look secret.
    `secrets`: texts that must never be shown.
    """

    document: Document
    ltm: Section | None
    metadata: Part | None
    blob: Part | None
    sessions: Section | None
    steps: tuple[Step, ...]
    env: tuple[str, ...]
    secrets: frozenset[str]


def is_engine_document(document: Document) -> bool:
    """Return whether a document holds more than the settings of a lake."""
    settings = document.data.get("settings")
    nested = settings if isinstance(settings, Mapping) else {}
    return bool(
        "steps" in document.data
        or "backends" in nested
        or words_in(document.data)
        or words_in(nested)
    )


def read_plan(where: Where, words: Mapping[str, object]) -> Plan:
    """Read a document: a YAML file, or its content as a mapping. `words` are added to it, and
    replace what it has under the same names.

    Raises ConfigurationError, with the path of every invalid setting.
    """
    if isinstance(where, Mapping):
        document = Document({**where, **words}, "", FilePath.cwd(), {})
    else:
        document = read_document(FilePath(where).expanduser())
        document = document._replace(data={**document.data, **words})
    return plan_of(document)


def plan_of(document: Document) -> Plan:
    """Validate a document."""
    settings = document.data.get("settings", {})
    if not isinstance(settings, Mapping):
        raise document.error(("settings",), f"expected a mapping, got {kind(settings)}")
    reading = _Reading(document, settings)
    ltm, metadata, blob, sessions = reading.parts()
    steps = document.data.get("steps")
    return Plan(
        document,
        ltm,
        metadata,
        blob,
        sessions,
        () if steps is None else read_steps(document, steps),
        _env(document),
        frozenset(reading.secrets),
    )


class _Reading:
    """Reads the settings of one document."""

    def __init__(self, document: Document, settings: Mapping[str, object]) -> None:
        self._document = document
        self._settings = settings
        ltm = settings.get("ltm")
        self._source = ltm.get("secrets") if isinstance(ltm, Mapping) else None
        self.secrets: set[str] = set()

    def parts(self) -> tuple[Section | None, Part | None, Part | None, Section | None]:
        """Return the settings of the memory, the documents, the files and the sessions."""
        for name in self._settings:
            near = None if name in _PARTS or "_" in name else closest(name, _PARTS)
            if near is not None:
                self._fail(("settings", name), f"unknown key: did you mean {near!r}?")
        ltm, sessions = self._section("ltm"), self._section("sessions")
        metadata, blob = self._backends()
        words, at = self._flat()
        if flat := ltm_of(self._document, words, at):
            self._only("ltm", ltm, at)
            ltm = Section(flat.document, (), flat.raw, frozenset())
        if ltm is not None:
            self._check(ltm)
        if found := metadata_of(self._document, words, at):
            self._only("backends.metadata", metadata, at)
            metadata = validate_part(found.document, (), found.raw, DOCUMENTS)
        if found := blob_of(self._document, words, at):
            self._only("backends.blob", blob, at)
            blob = validate_part(found.document, (), found.raw, FILES)
        self.secrets.update(secrets_in((metadata, blob)))
        return ltm, metadata, blob, sessions

    def _section(self, name: str) -> Section | None:
        raw = self._settings.get(name)
        return None if raw is None else self._expand(raw, ("settings", name))

    def _expand(self, raw: object, at: Path) -> Section:
        if not isinstance(raw, Mapping):
            self._fail(at, f"expected a mapping, got {kind(raw)}")
        section = expand(self._document, raw, at, raw.get("secrets", self._source))
        self.secrets.update(section.secrets)
        return section

    def _backends(self) -> tuple[Part | None, Part | None]:
        raw, at = self._settings.get("backends"), ("settings", "backends")
        if raw is None:
            return None, None
        if not isinstance(raw, Mapping):
            self._fail(at, f"expected a mapping, got {kind(raw)}")
        for name in raw:
            if name not in _BACKENDS:
                near = closest(name, _BACKENDS)
                told = f"did you mean {near!r}?" if near else "expected metadata or blob"
                self._fail((*at, name), f"unknown key: {told}")
        found: list[Part | None] = []
        for name, family in zip(_BACKENDS, (DOCUMENTS, FILES), strict=True):
            part = raw.get(name)
            if part is not None:
                section = self._expand(part, (*at, name))
                given = {key: value for key, value in section.raw.items() if key != "secrets"}
                part = validate_part(self._document, (*at, name), given, family)
            found.append(part)
        return found[0], found[1]

    def _flat(self) -> tuple[Mapping[str, object], Path]:
        """Return the flat words with their references replaced, and where they are: at the root or
        under `settings`."""
        under, root = words_in(self._settings), words_in(self._document.data)
        refuse_misspelt(self._document, self._settings, ("settings",))
        refuse_misspelt(self._document, self._document.data, ())
        if under and root:
            self._fail((next(iter(root)),), "is misplaced: the other flat words are under settings")
        at: Path = ("settings",) if under else ()
        section = expand(self._document, under or root, at, self._source)
        self.secrets.update(section.secrets)
        for name, value in section.raw.items():
            if name.endswith(("_token", "_key")) and isinstance(value, str):
                self.secrets.add(value)
        return section.raw, at

    def _check(self, ltm: Section) -> None:
        """Validate the settings of the memory. Opening the memory validates them again."""
        _, options = backend_in(ltm)
        self.secrets.update(secrets_in(options))

    def _only(self, nested: str, given: object, at: Path) -> None:
        if given is not None:
            self._fail(
                at or ("settings",),
                f"{nested} cannot be combined with flat words for the same: give one of them",
            )

    def _fail(self, at: Path, message: str) -> NoReturn:
        raise self._document.error(at, message)


def _env(document: Document) -> tuple[str, ...]:
    raw = document.data.get("env", [])
    if not isinstance(raw, list) or not all(isinstance(name, str) for name in raw):
        raise document.error(("env",), "expected a list of names of environment variables")
    return tuple(raw)


def secrets_in(value: object) -> Iterator[str]:
    """Yield the secrets in settings: values that are marked as secret, and passwords in
    addresses."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
        yield from (value, *_passwords(value))
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
        yield from secrets_in(value.model_extra or {})
    elif isinstance(value, Mapping):
        for name, item in value.items():
            plain = isinstance(item, str) and name in _NAMES
            yield from secrets_in(SecretStr(item) if plain else item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in(item)
    elif isinstance(value, str):
        yield from _passwords(value)


_NAMES = ("password", "token", "auth_token", "api_token", "key", "secret", "secret_key")


def _passwords(text: str) -> Iterator[str]:
    try:
        password = urlsplit(text).password if "://" in text else None
    except ValueError:
        password = None
    if password is not None:
        yield from {password, unquote(password)}


def shown_secrets(secrets: frozenset[str]) -> frozenset[str]:
    """Return the secrets that are long enough to be masked in a text."""
    return frozenset(secret for secret in secrets if len(secret) >= _SHORTEST)
