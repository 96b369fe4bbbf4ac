"""Files under paths, in a bucket, a folder or memory.

```python
from lakebed.files import create_blob_storage

storage = create_blob_storage("local", root="files")
storage.upload("reports/may.txt", "It was a good month.")
storage.download("reports/may.txt")["content"]
```
"""

from lakebed.files.files import Files
from lakebed.files.kinds import (
    AzureBlobStorage,
    GCSBlobStorage,
    LocalBlobStorage,
    MemoryBlobStorage,
    S3BlobStorage,
)
from lakebed.files.records import (
    CleanUp,
    Deletions,
    FileInfo,
    FileList,
    ListedFile,
    Presigned,
)
from lakebed.files.registry import (
    create_blob_storage,
    get_registered_blob_storages,
    register_blob_storage,
)
from lakebed.files.storage import BlobStorage
from lakebed.objects.files.store import FileStore
from lakebed.objects.files.store import Rule as LifecycleRule
from lakebed.objects.files.store import Transition as LifecycleTransition

__all__ = [
    "AzureBlobStorage",
    "BlobStorage",
    "CleanUp",
    "Deletions",
    "FileInfo",
    "FileList",
    "FileStore",
    "Files",
    "GCSBlobStorage",
    "LifecycleRule",
    "LifecycleTransition",
    "ListedFile",
    "LocalBlobStorage",
    "MemoryBlobStorage",
    "Presigned",
    "S3BlobStorage",
    "create_blob_storage",
    "get_registered_blob_storages",
    "register_blob_storage",
]
