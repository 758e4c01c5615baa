"""Objects of other libraries that are stored as the call that makes them.

The attributes of a frozen distribution hold source code, which SciPy would execute, and
compiled code relies on those of a spline. A file holds a record of the name and
arguments instead, and the object is made from these when the file is loaded.
"""

from __future__ import annotations

import copy
from numbers import Real
from types import ModuleType
from typing import Any

import numpy as np
from scipy import stats
from scipy.interpolate import BSpline

from ._trusted import DISTRIBUTIONS, trusted_functions


class Record:
    """A stored call; calling the class with its arguments returns the object."""

    arguments: tuple[Any, ...]

    @classmethod
    def of(cls, *arguments: Any) -> Record:
        """Make a record, which skops stores as ``cls(*arguments)``."""
        record = object.__new__(cls)
        record.arguments = arguments
        return record

    def __reduce__(self) -> tuple[type[Record], tuple[Any, ...]]:
        return type(self), self.arguments


class DistributionRecord(Record):
    """A frozen distribution of `scipy.stats`."""

    def __new__(cls, name: str, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        if name not in DISTRIBUTIONS:
            raise ValueError(f"The distribution {name!r} is not trusted.")
        if not all(isinstance(value, Real) for value in (*args, *kwds.values())):
            raise ValueError(f"Parameters of {name!r} must be numbers.")
        return getattr(stats, name)(*args, **kwds)


class FunctionRecord(Record):
    """A function, by its public name."""

    def __new__(cls, name: str) -> Any:
        if name not in trusted_functions():
            raise ValueError(f"The function {name!r} is not trusted.")
        return trusted_functions()[name]


class SplineRecord(Record):
    """A `scipy.interpolate.BSpline`, whose constructor checks its arrays."""

    def __new__(
        cls,
        t: np.ndarray,
        c: np.ndarray,
        k: int,
        extrapolate: bool | str | None,
        axis: int,
    ) -> Any:
        if not isinstance(k, int) or not 0 <= k < 100:
            raise ValueError(f"The degree of a spline must be in [0, 100), got {k!r}.")
        return BSpline(
            *(np.ascontiguousarray(array, np.float64) for array in (t, c)),
            k,
            extrapolate=extrapolate,
            axis=axis,
        )


#: Names of the records as files have them.
RECORDS = frozenset(
    f"{record.__module__}.{record.__qualname__}"
    for record in (DistributionRecord, FunctionRecord, SplineRecord)
)


def record_of(value: Any) -> Record | None:
    """Make the record of an object that is stored as one."""
    if isinstance(value, BSpline):
        return SplineRecord.of(value.t, value.c, value.k, value.extrapolate, value.axis)
    if isinstance(value, stats._distn_infrastructure.rv_frozen):
        if value.dist.name in DISTRIBUTIONS:
            return DistributionRecord.of(value.dist.name, value.args, value.kwds)
    elif callable(value):
        for name, function in trusted_functions().items():
            if function is value:
                return FunctionRecord.of(name)
    return None


def with_records(value: Any, memo: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """Return a model in which records stand for the objects that have them.

    Only what holds such an object is copied.

    Parameters
    ----------
    value : object
        A model, or a part of one.
    memo : dict, default=None
        Original and replacement of each part, by the identity of the original.
    """
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)][1]
    memo[id(value)] = value, value  # also where it holds itself
    record = record_of(value)
    replaced = record if record is not None else _replaced_parts(value, memo)
    memo[id(value)] = value, replaced
    return replaced


def _replaced_parts(value: Any, memo: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, dict):
        items = {key: with_records(part, memo) for key, part in value.items()}
        if all(items[key] is part for key, part in value.items()):
            return value
        copied = type(value)()
        copied.update(items)
        return copied
    if type(value) in (list, tuple):
        parts = [with_records(part, memo) for part in value]
        same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    if isinstance(value, type | ModuleType):
        return value
    if not isinstance(getattr(value, "__dict__", None), dict):
        return value
    if vars(value).get("_stream") is not None:  # rows of a stream stay out of files
        value = copy.copy(value)
        value._end_stream()
    attributes = with_records(vars(value), memo)
    if attributes is vars(value):
        return value
    copied = object.__new__(type(value))
    vars(copied).update(attributes)
    return copied
