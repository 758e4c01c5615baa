"""What predictions need of a fitted classifier, and what makes it sound."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class FittedArray(NamedTuple):
    """An array, and what it must be like.

    Parameters
    ----------
    array : ndarray
        Of a file it may be something else, which is a fault.
    shape : tuple of int or None
        None stands for any length.
    dtype : str or None, default="float64"
        None stands for any.
    positive : bool, default=False
        Whether all of it must be above 0.
    """

    array: Any
    shape: tuple[int | None, ...]
    dtype: str | None = "float64"
    positive: bool = False

    def fault(self) -> str | None:
        """Say what is wrong with it, if something is."""
        array = self.array
        if not isinstance(array, np.ndarray):
            return f"is a {type(array).__name__}, not an array"
        if self.dtype is not None and array.dtype != self.dtype:
            return f"is an array of {array.dtype}, not {self.dtype}"
        if not self._has_shape():
            return f"has shape {array.shape}, not {self.shape}"
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return "holds NaN or infinity"
        if self.positive and not (array > 0).all():
            return f"holds {array.min()}, which is not above 0"
        return None

    def _has_shape(self) -> bool:
        return len(self.array.shape) == len(self.shape) and all(
            wanted in (None, length)
            for length, wanted in zip(self.array.shape, self.shape, strict=True)
        )
