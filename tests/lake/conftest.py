"""The servers and the disks of these tests."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disks import mount


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
