"""One YAML file for memory, documents, files and sessions, and for the steps that use them.

```python
from lakebed.engine import YAMLEngine

with YAMLEngine.from_file("agent.yaml") as engine:
    engine.run({"name": "Ada"})
```
"""

from lakebed.engine.engine import YAMLEngine

__all__ = ["YAMLEngine"]
