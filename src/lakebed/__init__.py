"""Long-term memory on a data lake.

import lakebed

lake = lakebed.open()
lake.store("user/42/name", "Ada", {"source": "chat"})
lake.retrieve("user/42/name")
"""

from typing import Any

from lakebed import errors
from lakebed.catalog.registry import register_catalog_backend
from lakebed.config.opening import open
from lakebed.errors import LakebedError
from lakebed.lake.catalog_backend import create_catalog_backend
from lakebed.lake.lake import Lake
from lakebed.lake.share.published import open_publication
from lakebed.model import Entry

__version__ = "0.1.0"

__all__ = [
    "Entry",
    "Lake",
    "LakebedError",
    "__version__",
    "create_catalog_backend",
    "errors",
    "open",
    "open_publication",
    "register_catalog_backend",
]


def __getattr__(name: str) -> Any:
    if name == "aio":  # not for who needs no coroutines
        from importlib import import_module

        return import_module("lakebed.aio")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
