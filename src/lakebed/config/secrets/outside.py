"""Secrets in a source of another package."""

from __future__ import annotations

from functools import cached_property
from importlib import metadata

from pydantic import ConfigDict, model_validator

from lakebed.config.fields import Raw
from lakebed.config.masking import guard, reveal
from lakebed.config.secrets.base import Secrets
from lakebed.config.secrets.sources import ENTRY_POINTS, SecretsBackend


class OutsideSecrets(Secrets):
    """A source of another package, found by its entry point in the group `lakebed.secrets`. Its
    options are not checked here."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _guard(cls, raw: Raw) -> Raw:
        return {
            name: value if name in cls.model_fields else guard(value, name)
            for name, value in raw.items()
        }

    @cached_property
    def _backend(self) -> SecretsBackend:
        (point, *_) = metadata.entry_points(group=ENTRY_POINTS, name=self.source)
        options = {name: reveal(value) for name, value in (self.model_extra or {}).items()}
        backend: SecretsBackend = point.load()(**options)
        return backend

    def get(self, name: str) -> str:
        return self._backend.get(name)
