"""Sessions: conversations, memories, tasks and artifacts that several agents share.

```python
from lakebed.sessions import SessionManager

manager = SessionManager(lakebed.open())
session = manager.create_session("Plan the trip", ["ada", "researcher"])
```
"""

from lakebed.sessions.manager import SessionManager
from lakebed.sessions.opening import get_session_manager
from lakebed.sessions.records import (
    Agent,
    Artifact,
    Chunk,
    Memory,
    MoveReport,
    Statistics,
    Summary,
)
from lakebed.sessions.session import Session
from lakebed.sessions.tasks.task import Task

__all__ = [
    "Agent",
    "Artifact",
    "Chunk",
    "Memory",
    "MoveReport",
    "Session",
    "SessionManager",
    "Statistics",
    "Summary",
    "Task",
    "get_session_manager",
]
