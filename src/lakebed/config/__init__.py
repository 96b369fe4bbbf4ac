"""The configuration of a lake: a YAML file or a mapping that says which lake to open.

Importing this package loads neither pydantic nor a YAML reader. Using a configuration does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakebed.config.connections import (
        build_provider_connection_string,
        create_secrets_backend,
        resolve_catalog_credentials,
    )

__all__ = [
    "build_provider_connection_string",
    "create_secrets_backend",
    "resolve_catalog_credentials",
]


def __getattr__(name: str) -> object:
    # `import lakebed` imports this module; it must not load what only these names need.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lakebed.config import connections

    return getattr(connections, name)
