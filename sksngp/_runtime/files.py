"""Files that are there as a whole or not at all."""

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
        If the file cannot be written, or is a pipe, device or folder; what was there
        before is kept.

    Notes
    -----
    A writer that is killed leaves a scratch file, which the next writer of the same
    file removes. Those of writers at work are locked, and stay.
    """
    target, scratch = scratch_beside(path)
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise OSError(f"{str(target)!r} is not a regular file.")
    _remove_abandoned(target)
    try:
        with _locked(scratch) as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, scratch)
            os.replace(scratch, target)  # while it is locked
    finally:
        scratch.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _locked(scratch: Path) -> IO[bytes]:
    """A new file that `_remove_abandoned` leaves alone while it is open."""
    while True:
        stream = open(scratch, "xb")
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(stream, fcntl.LOCK_SH)
        if scratch.exists():
            return stream
        stream.close()  # it was removed before it was locked


def _remove_abandoned(target: Path) -> None:
    """Remove scratch files of this file that no process writes to."""
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.tmp")
    for scratch in target.parent.iterdir() if target.parent.is_dir() else ():
        if pattern.fullmatch(scratch.name):
            # Another process may remove it first, and others' files are not ours.
            with suppress(OSError), open(scratch, "rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                scratch.unlink()


def _flush_folder(folder: Path) -> None:
    """Make the new name last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
