"""Long-term memory on a data lake.

import lakebed

lake = lakebed.open()
lake.store("user/42/name", "Ada", {"source": "chat"})
lake.retrieve("user/42/name")
"""

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
