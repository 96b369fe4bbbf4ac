"""The lake for coroutines.

```python
import lakebed

async with lakebed.aio.open() as lake:
    await lake.store("user/42/name", "Ada", {"source": "chat"})
    await lake.retrieve("user/42/name")
```
"""

from __future__ import annotations

from lakebed.aio.files import AsyncBlobStorage, AsyncFiles, create_async_blob_storage
from lakebed.aio.lake import AsyncLake, AsyncScope, AsyncView
from lakebed.aio.ltm import AsyncLTMBackend, AsyncLTMTransaction, create_async_ltm_backend
from lakebed.aio.opening import open
from lakebed.aio.records import AsyncEntry, AsyncHit, AsyncHits
from lakebed.aio.results import AsyncChanges, AsyncDiff, AsyncListing, AsyncQueryResult
from lakebed.aio.sessions import AsyncSessionManager, AsyncTask, get_session_manager
from lakebed.aio.signals import AsyncSignals
from lakebed.aio.transaction import AsyncTransaction
from lakebed.aio.watch import AsyncWatch

__all__ = [
    "AsyncBlobStorage",
    "AsyncChanges",
    "AsyncDiff",
    "AsyncEntry",
    "AsyncFiles",
    "AsyncHit",
    "AsyncHits",
    "AsyncLTMBackend",
    "AsyncLTMTransaction",
    "AsyncLake",
    "AsyncListing",
    "AsyncQueryResult",
    "AsyncScope",
    "AsyncSessionManager",
    "AsyncSignals",
    "AsyncTask",
    "AsyncTransaction",
    "AsyncView",
    "AsyncWatch",
    "create_async_blob_storage",
    "create_async_ltm_backend",
    "get_session_manager",
    "open",
]
