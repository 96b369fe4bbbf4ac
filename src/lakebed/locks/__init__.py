"""Locks for several machines, with a time to live and fencing tokens.

```python
from lakebed.locks import create_lock

with create_lock("redis", "nightly-report", ttl=60, url="redis://host/0") as lock:
    write_report(fence=lock.token)
```
"""

from __future__ import annotations

from lakebed.locks.base import Lock
from lakebed.locks.registry import create_lock, known_locks, register_lock

__all__ = ["Lock", "create_lock", "known_locks", "register_lock"]
