"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO


def scratch_beside(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The file that a path means, through links, and a new name beside it."""
    target = Path(os.path.realpath(path))
    return target, target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]
) -> None:
    """Write a file so that a crash, a kill or a full disk leaves the old one whole.

    Parameters
    ----------
    path : str or path-like
        A link is written through. An old file's permissions are kept.
    write : callable
        Called with a binary stream.

    Raises
    ------
    OSError
        If the file cannot be written; what was there before is kept.
    """
    target, scratch = scratch_beside(path)
    try:
        with open(scratch, "xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        if target.exists():
            shutil.copymode(target, scratch)
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Make the new name last through a power failure, where folders can be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
