"""Validation of the arrays that a fitted classifier needs for predictions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class FittedArray(NamedTuple):
    """Fitted array and the properties that it must have.

    Parameters
    ----------
    array : ndarray
        Array to validate. An object of another type, which a file may contain, is an
        error.
    shape : tuple of int or None
        Expected shape, in which None represents any length.
    dtype : str or None, default="float64"
        Expected data type. If None, any data type is valid.
    positive : bool, default=False
        Whether all values must be positive.
    increasing : bool, default=False
        Whether there must be at least one value, and no value below an earlier one.
    """

    array: Any
    shape: tuple[int | None, ...]
    dtype: str | None = "float64"
    positive: bool = False
    increasing: bool = False

    def error(self) -> str | None:
        """Return a description of the error, or None if the array is valid."""
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
            return f"holds {array.min()}, which is not positive"
        if self.increasing and not (array.size and (np.diff(array) >= 0).all()):
            return "is empty or not in increasing order"
        return None

    @classmethod
    def of_positive(cls, value: Any) -> FittedArray:
        """Return a single number that must be positive."""
        return cls(np.array(value, float), (), positive=True)

    def _has_shape(self) -> bool:
        return len(self.array.shape) == len(self.shape) and all(
            wanted in (None, length)
            for length, wanted in zip(self.array.shape, self.shape, strict=True)
        )
