"""The clouds' own client libraries: extras, imported when used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from lakebed.errors import DependencyMissingError

WAIT = 10.0
"""Seconds to wait for the answer of a cloud."""


class Cloud(NamedTuple):
    """A cloud's name, and the extra that installs its client libraries."""

    name: str
    extra: str

    def client(self, module: str) -> ModuleType:
        """Import a module of the cloud's client libraries.

        Raises DependencyMissingError, with the pip command, if it is not installed.
        """
        try:
            return import_module(module)
        except ImportError as error:
            raise DependencyMissingError(
                f"{self.name} needs the module {module}: pip install 'lakebed[{self.extra}]'"
            ) from error


GOOGLE = Cloud("Google Cloud", "gcp-secrets")
AWS = Cloud("AWS", "aws-secrets")
AZURE = Cloud("Azure", "azure-secrets")


def first_line(error: Exception) -> str:
    """Return the first line of a client's error, or the name of its class if it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
