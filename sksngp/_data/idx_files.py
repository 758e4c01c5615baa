"""Reading of idx files, the format of MNIST."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_idx(path: Path, n_dimensions: int) -> NDArray[np.uint8]:
    """Read an array of bytes from a gzipped idx file.

    The header consists of two zero bytes, the type of the values (8 for unsigned
    bytes), the number of dimensions, and the length of each dimension as a big-endian
    integer of four bytes.
    """
    try:
        with gzip.open(path) as stream:
            content = stream.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}") from error
    magic, start = bytes([0, 0, 8, n_dimensions]), 4 + 4 * n_dimensions
    if content[:4] != magic or len(content) < start:
        raise ValueError(
            f"{path} is not an idx file of bytes in {n_dimensions} dimension(s): it "
            f"starts with {content[:4].hex(' ')!r} instead of {magic.hex(' ')!r}, or "
            "ends there."
        )
    shape = tuple(np.frombuffer(content, ">u4", n_dimensions, offset=4).tolist())
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{path} announces an array of shape {shape} but holds "
            f"{len(content) - start} bytes instead of {math.prod(shape)}."
        )
    # The copy is writable.
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
