"""The settings of every backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from lakebed.config.fields import Count, LocalPath, Model, Seconds, Upkeep, YesNo, wrong
from lakebed.config.masking import MaskedOptions, hiding, mask, without
from lakebed.config.secrets.env import EnvSecrets
from lakebed.config.secrets.settings import SecretsSettings


class SearchSettings(Model):
    """The settings of search."""

    embedder: Literal["minilm", "e5"] | None = Field(
        None,
        description="The model that turns texts into vectors, for a search by meaning. Needs the "
        "extra `embed`. All clients of a lake must use the same model.",
    )
    cache: LocalPath | None = Field(
        None,
        description="The folder for copies of the search index, safe to delete; "
        "`~/.cache/lakebed` if left out.",
    )


class Settings(Model):
    """The settings of every backend."""

    inline_threshold: Count | None = Field(
        None,
        description="Values of up to this many bytes stay in the catalog; 4096 if left out. Fixed "
        "when the lake is created.",
    )
    history: Literal["snapshots", "all"] | None = Field(
        None,
        description="Which replaced versions to keep: those that snapshots see (`snapshots`, the "
        "default), or `all`. Fixed when the lake is created.",
    )
    history_retention: Seconds | None = Field(
        None,
        description="With `history: all`, how long to keep versions that no snapshot sees: "
        "seconds, or text such as `30d`. For ever if left out. Fixed when the lake is created.",
    )
    durability: Literal["normal", "full"] = Field(
        "normal", description="`full` waits for the disk at each commit of a SQLite catalog."
    )
    lock_timeout: Seconds = Field(
        60.0, description="How many seconds a write waits for other writes."
    )
    auto_maintain: Upkeep = Field(
        "light",
        description="The upkeep that happens by itself: none (`off`), a little with writes "
        "(`light`), or also maintenance in the background, by one process at a time (`full`).",
    )
    search: SearchSettings = Field(
        default_factory=lambda: SearchSettings(embedder=None, cache=None),
        description="How the lake is searched.",
    )
    read_only: YesNo = Field(
        False,
        description="Open the lake read-only: touch no file and refuse every call that writes. For "
        "archives, read-only disks and users who may not write.",
    )
    lazy: YesNo = Field(
        False,
        description="Connect at the first call. Applies to the LTM interface, and to "
        "`lakebed.open` if the catalog is a server.",
    )
    secrets: SecretsSettings = Field(
        default_factory=lambda: EnvSecrets(),
        description="Where `{{ secrets.name }}` is looked up.",
    )

    @model_validator(mode="after")
    def _retention_needs_history(self) -> Settings:
        if self.history_retention is not None and self.history != "all":
            raise wrong("requires history: all", "history_retention")
        if self.history_retention == 0:
            raise wrong("expected more than 0 seconds", "history_retention")
        return self

    # The values that replaced `{{ secrets.… }}`. They are never shown.
    _secrets: frozenset[str] = PrivateAttr(frozenset())

    def hide(self, secrets: frozenset[str]) -> None:
        """Never show these values in the text of the settings."""
        self._secrets = secrets

    @property
    def secret_values(self) -> frozenset[str]:
        """The values that replaced `{{ secrets.… }}`."""
        return self._secrets

    def mask(self, text: str) -> str:
        """Return the text with the values that replaced `{{ secrets.… }}` masked."""
        return str(without(text, self._secrets))

    def hiding(self) -> AbstractContextManager[None]:
        """Open a block that removes these values from the text of every error that leaves it."""
        return hiding(self._secrets)

    def options(self) -> MaskedOptions:
        """Return the settings in effect as keyword arguments of a backend, secrets included."""
        return MaskedOptions(self.model_dump(by_alias=True, exclude_none=True), self._secrets)

    def shown(self, *, chosen: bool = False) -> dict[str, object]:
        """Return the settings in effect as plain data, with secrets masked. Settings without a
        value are left out. With `chosen`, settings that were not given are left out too."""
        found = self.model_dump(by_alias=True, exclude_none=True, exclude_unset=chosen)
        shown = without(mask(found), self._secrets)
        assert isinstance(shown, dict)
        return {"backend": self.model_dump(include={"backend"})["backend"]} | shown

    def __repr_args__(self) -> Iterator[tuple[str | None, object]]:
        yield from self.shown().items()

    @abstractmethod
    def place(self) -> dict[str, Any]:
        """Return `where`, or `catalog` and `storage`, as `lakebed.open` takes them."""

    def open_options(self) -> dict[str, Any]:
        """Return all keyword arguments of `lakebed.open`."""
        return self.place() | {
            "inline_threshold": self.inline_threshold,
            "history": self.history,
            "history_retention": self.history_retention,
            "durability": self.durability,
            "lock_timeout": self.lock_timeout,
            "auto_maintain": self.auto_maintain,
            "embedder": self.search.embedder,
            "cache": self.search.cache,
            **({"read_only": True} if self.read_only else {}),
        }


def lazily(catalog: dict[str, object], lazy: bool) -> dict[str, object]:
    """Return the catalog. If `lazy` is set and the catalog is not SQLite, it connects when it is
    first used."""
    return catalog | {"lazy": True} if lazy and catalog["type"] != "sqlite" else catalog


class InlineSettings(Settings):
    """A backend that is only a catalog."""

    @abstractmethod
    def as_catalog(self) -> dict[str, object]:
        """Return the catalog as `lakebed.open` takes it."""

    def place(self) -> dict[str, Any]:
        return {"catalog": lazily(self.as_catalog(), self.lazy)}
