"""File systems of the tests' own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")


def mount(*arguments: str | Path) -> None:
    """Run `mount`; skips the test where that is not allowed."""
    ran = subprocess.run(["mount", *arguments], capture_output=True, check=False, text=True)
    if ran.returncode:
        pytest.skip(f"mounting is not allowed here: {ran.stderr.strip()}")
