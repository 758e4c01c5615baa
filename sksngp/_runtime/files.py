"""Atomic file writing."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


def scratch_beside(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Resolve the links of a path, and return an unused name in the same folder."""
    target = Path(os.path.realpath(path))
    return target, target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def write_atomically(
    path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]
) -> None:
    """Write a file atomically.

    If the process crashes or is killed, or the disk is full, a previous file remains
    unchanged.

    Parameters
    ----------
    path : str or path-like
        File to write. If the path is a link, its target is replaced. The permissions of
        an existing file are preserved.
    write : callable
        Function that is called with a binary stream and writes the content.

    Raises
    ------
    OSError
        If the file cannot be written, or the path is a pipe, device or folder. A
        previous file then remains unchanged.

    Notes
    -----
    The content is written to a temporary file first. If the process is killed, this
    file remains until the next call for the same path removes it. Temporary files that
    are still being written are locked and therefore not removed.
    """
    target, scratch = scratch_beside(path)
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(f"{str(target)!r} is not a regular file.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(target.parent)!r}.")
    _remove_abandoned(target)
    try:
        with _locked(scratch) as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, scratch)
            os.replace(scratch, target)  # within the context, while the file is locked
    finally:
        scratch.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _locked(scratch: Path) -> IO[bytes]:
    """Create a file that `_remove_abandoned` does not remove while it is open."""
    while True:
        stream = open(scratch, "xb")
        with suppress(OSError):  # some file systems do not support locks
            fcntl.flock(stream, fcntl.LOCK_SH)
        if scratch.exists():
            return stream
        stream.close()  # another process removed the file before it was locked


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files of `target` that no process is writing to."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.tmp")
    for scratch in target.parent.iterdir():
        if pattern.fullmatch(scratch.name):
            # Another process may remove the file first, and the file may belong to
            # another user.
            with suppress(OSError), open(scratch, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                scratch.unlink()


def _flush_folder(folder: Path) -> None:
    """Write the entries of a folder to disk, so that they survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
