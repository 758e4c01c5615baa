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
        raise ValueError(f"{path} is not a complete gzip file: {error}") from error
    magic, start = bytes([0, 0, 8, n_dimensions]), 4 + 4 * n_dimensions
    if content[:4] != magic or len(content) < start:
        raise ValueError(
            f"{path} must be an idx file of bytes with {n_dimensions} dimension(s), "
            f"which starts with {magic.hex(' ')!r} and the lengths of the dimensions, "
            f"got a file of {len(content)} bytes that starts with "
            f"{content[:4].hex(' ')!r}."
        )
    shape = tuple(np.frombuffer(content, ">u4", n_dimensions, offset=4).tolist())
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{path} must hold {math.prod(shape)} bytes for an array of shape {shape}, "
            f"got {len(content) - start} bytes."
        )
    # In contrast to the result of `frombuffer`, a copy is writable.
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
