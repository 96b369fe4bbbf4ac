"""The clouds' own client libraries: extras, imported when used."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from lakebed.errors import DependencyMissingError

WAIT = 10.0
"""Seconds that a cloud's answer is waited for."""


class Cloud(NamedTuple):
    """A cloud's name, and the extra that installs its clients."""

    name: str
    extra: str

    def client(self, module: str) -> ModuleType:
        """A module of its clients.

        Raises DependencyMissingError with the pip command if it is not installed.
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
    """What a client's error says, on one line; its class if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
