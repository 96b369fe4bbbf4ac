"""What takes long to make is made once in a run: by the worker that needs it first."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder that `make` fills. Other workers wait for it meanwhile, and must not change it."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder, mark = common / f"shared-{name}", common / f"shared-{name}.made"
    with (common / f"shared-{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            shutil.rmtree(folder, ignore_errors=True)  # one that failed half way
            folder.mkdir()
            make(folder)
            mark.touch()
    return folder
