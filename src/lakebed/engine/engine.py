"""The engine of a YAML file: the memory, documents, files and sessions that it configures, and the
steps that use them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Self, TypeVar

from lakebed.config.reading.auto import Choice, choose_documents, choose_files
from lakebed.config.reading.loading import Section
from lakebed.documents.registry import create_metadata_store
from lakebed.engine.document import Plan, read_plan, secrets_in, shown_secrets
from lakebed.engine.flat import WORDS
from lakebed.engine.functions import Function, find
from lakebed.engine.parts import DOCUMENTS, FILES, Family, Part, validate_part
from lakebed.engine.running import Run
from lakebed.engine.steps import Step
from lakebed.engine.templates import Env, plain
from lakebed.errors import CatalogError, ConfigurationError, ValidationError
from lakebed.files.registry import create_blob_storage
from lakebed.files.storage import BlobStorage
from lakebed.lake.lake import Lake
from lakebed.ltm.adapter import LTMBackend
from lakebed.ltm.registry import backend_in, create_ltm_backend
from lakebed.reporting import Result
from lakebed.sessions.manager import SessionManager
from lakebed.sessions.opening import open_section
from lakebed.suggestions import suggestion

log = logging.getLogger("lakebed.engine")
T = TypeVar("T")
_ROOTS = ("settings", "steps", "env")


class YAMLEngine:
    """Memory, documents, files and sessions, as one document configures them.

        with YAMLEngine.from_file("agent.yaml") as engine:
            engine.ltm.store("user/42/tea", "oolong")
            engine.run({"question": "what tea?"})

    `document`: the path of a YAML file, or its content as a mapping with `settings` (`ltm`,
    `backends`, `sessions`), `steps` and `env`.
    `words`: `settings`, `steps` or `env` in place of those of the document, or flat words such as
    `ltm_backend="sqlite"`.

    All settings and steps are checked at once. A part is opened when it is first used. If it is not
    configured, it is then chosen from the environment, and the choice is logged. The engine can be
    used from any thread. Close it, or use it in a `with` block (`async with` if the documents are
    async).

    Raises ConfigurationError, with the path of every invalid setting; DependencyMissingError, with
    the pip command, if there are steps and the extra `engine` is not installed.
    """

    def __init__(
        self,
        document: Mapping[str, object] | str | os.PathLike[str] | None = None,
        /,
        **words: object,
    ) -> None:
        for name in words:
            if name not in WORDS and name not in _ROOTS:
                told = suggestion(name, (*WORDS, *_ROOTS))
                raise ConfigurationError(f"{name}: unknown key: {told}")
        given = {name: value for name, value in words.items() if value is not None}
        self._plan: Plan = read_plan({} if document is None else document, given)
        self._env = Env(self._plan.env)
        self._secrets = set(self._plan.secrets)
        self._functions: dict[str, Function] = {}
        self._opened: dict[str, Any] = {}
        self._ending = ExitStack()
        self._closed = False
        self._lock = threading.RLock()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Return the engine of a YAML file. Relative paths in it start at its folder.

        Raises what `YAMLEngine` raises.
        """
        return cls(path)

    @property
    def ltm(self) -> LTMBackend:
        """The memory; see `lakebed.ltm`."""
        return self._part("ltm", self._open_ltm)

    @property
    def metadata(self) -> Any:
        """The documents: a `MetadataStore` of `lakebed.documents`, or an `AsyncMetadataStore` if
        the settings say `async`."""
        return self._part("metadata", self._open_metadata)

    @property
    def blobs(self) -> BlobStorage:
        """The files; see `lakebed.files`."""
        return self._part("blobs", self._open_blobs)

    @property
    def sessions(self) -> SessionManager:
        """The sessions; see `lakebed.sessions`."""
        return self._part("sessions", self._open_sessions)

    @property
    def lake(self) -> Lake:
        """The lake of the memory, for snapshots, SQL and everything else."""
        return self.ltm.lake

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the document."""
        return self._plan.steps

    def register(self, name: str, function: Function) -> None:
        """Make a function known to the steps, as `uses: name`.

        It takes the `with` of the step as keywords and returns plain data. If it raises an
        exception, or returns a dictionary whose `success` is False, the step has failed.

        Raises ValidationError if the name is empty or not a string, or the function is not
        callable.
        """
        if not isinstance(name, str):
            raise ValidationError(f"name must be a string, got {type(name).__name__}")
        if not name:
            raise ValidationError("name must not be empty")
        if not callable(function):
            raise ValidationError(f"{name} must be a function, got {type(function).__name__}")
        self._functions[name] = function

    def run(self, input: Mapping[str, Any] | None = None, *, dry_run: bool = False) -> Result:  # noqa: A002
        """Run the steps, and return a dictionary with `success`, `steps` and the result of each
        step under the name in its `as`.

        `input`: a mapping of plain data. Templates see it as `input`.
        `dry_run`: only check the steps, and return them with the status `planned`.

        `steps` is a list with the `status` of each step: `done`, `skipped` or `failed`. If a failed
        step stopped the run, the result also has `error`, `error_type` and `step`, the number of
        that step, counted from 0.

        Raises ConfigurationError if there are no steps, or if one uses an unknown function;
        ValidationError if the input is not a mapping of plain data.
        """
        if not self.steps:
            raise ConfigurationError(f"{self._plan.document.name or 'the document'} has no steps")
        if input is not None and not isinstance(input, Mapping):
            raise ValidationError(f"input must be a mapping, got {type(input).__name__}")
        given = plain(input or {}, "input")
        functions = {step.uses: find(self, self._functions, step.uses) for step in self.steps}
        self._refuse_async()
        if dry_run:
            return {"success": True, "steps": [_planned(step) for step in self.steps]}
        return Run(functions, self._env, self._hidden).run(self.steps, given)

    def _refuse_async(self) -> None:
        part = self._plan.metadata
        uses = any(step.uses.startswith("metadata.") for step in self.steps)
        if uses and part is not None and part.awaited:
            raise ConfigurationError(
                "settings.backends.metadata.async: steps do not await: leave it out to run them"
            )

    def _hidden(self) -> frozenset[str]:
        return shown_secrets(frozenset(self._secrets | self._env.used))

    def _part(self, name: str, opener: Callable[[], T]) -> T:
        with self._lock:
            if self._closed:
                raise CatalogError("the engine is closed")
            if name not in self._opened:
                self._opened[name] = opener()
            found: T = self._opened[name]
            return found

    def _open_ltm(self) -> LTMBackend:
        section = self._plan.ltm
        if section is None:
            document = self._plan.document
            section = Section(document, ("settings", "ltm"), {"backend": "auto"}, frozenset())
        backend, options = backend_in(section)
        self._secrets.update(secrets_in(options))
        memory = create_ltm_backend(backend, **options)
        self._ending.callback(memory.close)
        return memory

    def _open_metadata(self) -> Any:
        part = self._plan.metadata
        if part is None:
            part = self._chosen("metadata", choose_documents(DOCUMENTS.known()), DOCUMENTS)
        options = part.options()
        if part.kind in ("lake", "lake_async") and not options.get("path"):
            options["lake"] = self.lake
        store = self._made("metadata", create_metadata_store, part, options)
        if not part.awaited:
            self._ending.callback(store.close)
        return store

    def _open_blobs(self) -> BlobStorage:
        part = self._plan.blob
        if part is None:
            part = self._chosen("blob", choose_files(FILES.known()), FILES)
        storage = self._made("blob", create_blob_storage, part, part.options())
        self._ending.callback(storage.close)
        return storage

    def _open_sessions(self) -> SessionManager:
        if self._plan.sessions is None:
            return SessionManager(self.lake)  # which the memory closes
        manager = SessionManager(open_section(self._plan.sessions))
        self._ending.callback(manager.close)
        return manager

    def _chosen(self, name: str, choice: Choice, family: Family) -> Part:
        log.info("%s", choice.told(name))
        at = ("settings", "backends", name)
        part = validate_part(self._plan.document, at, {"type": choice.type}, family)
        self._secrets.update(secrets_in(part))
        return part

    def _made(self, name: str, maker: Callable[..., T], part: Part, options: dict[str, Any]) -> T:
        try:
            return maker(part.kind, **options)
        except ConfigurationError as error:
            at = ("settings", "backends", name)
            raise self._plan.document.error(at, error.message) from None

    def close(self) -> None:
        """Close everything that was opened. Later calls fail. Closing again does nothing.

        Raises ValidationError, after closing the rest, if the documents are async: use
        `await aclose()`.
        """
        with self._lock:
            self._closed = True
            self._ending.close()
            if hasattr(self._opened.get("metadata"), "__aenter__"):
                raise ValidationError("the documents are async: await aclose(), or use async with")

    async def aclose(self) -> None:
        """Close everything that was opened, async documents included."""
        store = self._opened.get("metadata")
        if store is not None and hasattr(store, "__aenter__"):
            await store.close()
            del self._opened["metadata"]
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        opened = ", ".join(self._opened) or "nothing opened"
        return f"<YAMLEngine {self._plan.document.name or 'of a mapping'}: {opened}>"


def _planned(step: Step) -> dict[str, object]:
    shown = step.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    return {**shown, "status": "planned"}
