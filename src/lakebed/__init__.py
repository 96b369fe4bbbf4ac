"""Long-term memory on a data lake.

```python
import lakebed

lake = lakebed.open()
lake.store("user/42/name", "Ada", {"source": "chat"})
lake.retrieve("user/42/name")
```
"""

from typing import TYPE_CHECKING

from lakebed import errors
from lakebed.catalog.registry import register_catalog_backend
from lakebed.config.opening import create_catalog_backend, open
from lakebed.errors import LakebedError
from lakebed.lake.lake import Lake
from lakebed.lake.share.published import open_publication
from lakebed.records import Entry

__version__ = "0.1.0"

__all__ = [
    "Entry",
    "Lake",
    "LakebedError",
    "__version__",
    "backup",
    "backups",
    "copy",
    "create_catalog_backend",
    "errors",
    "follow",
    "open",
    "open_publication",
    "prune_backups",
    "rebuild_catalog",
    "register_catalog_backend",
    "restore_backup",
    "restore_contents",
]
_MOVING = (
    "backup", "backups", "copy", "follow", "prune_backups", "rebuild_catalog", "restore_backup",
    "restore_contents",
)  # fmt: skip


if TYPE_CHECKING:
    from lakebed import aio as aio
    from lakebed.moving import backup as backup
    from lakebed.moving import backups as backups
    from lakebed.moving import copy as copy
    from lakebed.moving import follow as follow
    from lakebed.moving import prune_backups as prune_backups
    from lakebed.moving import rebuild_catalog as rebuild_catalog
    from lakebed.moving import restore_backup as restore_backup
    from lakebed.moving import restore_contents as restore_contents
else:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        # Loaded when they are used.
        if name == "aio":
            return import_module("lakebed.aio")
        if name in _MOVING:
            return getattr(import_module("lakebed.moving"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
