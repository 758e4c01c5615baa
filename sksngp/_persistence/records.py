"""Records of objects of other libraries, stored as constructor calls.

Restoring the attributes of some objects from a file would be unsafe: those of a frozen
distribution include source code that SciPy would execute, and compiled code relies on
those of a spline. A file therefore stores a record of a name and arguments, from which
the object is created when the file is loaded. Objects can also omit parts of themselves
from files by defining a method ``_for_file``.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from types import ModuleType
from typing import Any

import numpy as np
from scipy import stats
from scipy.interpolate import BSpline

from .trusted import DISTRIBUTIONS, trusted_functions


class Record:
    """Base class of stored calls. Calling a subclass returns the recorded object."""

    arguments: tuple[Any, ...]

    @classmethod
    def of(cls, *arguments: Any) -> Record:
        """Create a record, which skops stores as ``cls(*arguments)``."""
        record = object.__new__(cls)
        record.arguments = arguments
        return record

    def __reduce__(self) -> tuple[type[Record], tuple[Any, ...]]:
        return type(self), self.arguments


class DistributionRecord(Record):
    """Record of a frozen distribution of `scipy.stats`."""

    def __new__(cls, name: str, args: tuple[Any, ...], kwds: dict[str, Any]) -> Any:
        if name not in DISTRIBUTIONS:
            raise ValueError(f"The distribution {name!r} is not trusted.")
        if not all(isinstance(value, Real) for value in (*args, *kwds.values())):
            raise ValueError(f"The parameters of {name!r} must be numbers.")
        return getattr(stats, name)(*args, **kwds)


class FunctionRecord(Record):
    """Record of a function, identified by its public name."""

    def __new__(cls, name: str) -> Any:
        if name not in trusted_functions():
            raise ValueError(f"The function {name!r} is not trusted.")
        return trusted_functions()[name]


class SplineRecord(Record):
    """Record of a `scipy.interpolate.BSpline`. Its constructor validates the arrays."""

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


#: Names of the record classes in files.
RECORDS = frozenset(
    f"{record.__module__}.{record.__qualname__}"
    for record in (DistributionRecord, FunctionRecord, SplineRecord)
)


def record_of(value: Any) -> Record | None:
    """Return the record of an object, or None if the object is not stored as one."""
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


def with_records(model: Any) -> Any:
    """Return a model in which objects are replaced by their records.

    Only objects that contain a replaced object are copied.
    """
    return _with_replacements(model, record_of, {})


def for_file(model: Any) -> Any:
    """Return a model without the parts that are omitted from files.

    An object with a method ``_for_file`` is replaced by the result of this method. Only
    objects that contain a replaced object are copied.
    """
    return _with_replacements(model, _reduced, {})


def _reduced(value: Any) -> Any:
    if not hasattr(type(value), "_for_file"):
        return None
    reduced = value._for_file()
    return None if reduced is value else reduced


def _with_replacements(
    value: Any, replace: Callable[[Any], Any], memo: dict[int, tuple[Any, Any]]
) -> Any:
    """Replace the parts of a model for which `replace` does not return None.

    Parameters
    ----------
    value : object
        Model, or a part of a model.
    replace : callable
        Function that returns the replacement of a part, or None.
    memo : dict
        Original and replacement of each part. The keys are identities of originals.
    """
    if id(value) in memo:
        return memo[id(value)][1]
    memo[id(value)] = value, value  # an object may contain itself
    replaced = replace(value)
    if replaced is None:
        replaced = _with_parts(
            value, lambda part: _with_replacements(part, replace, memo)
        )
    memo[id(value)] = value, replaced
    return replaced


def _with_parts(value: Any, replaced: Callable[[Any], Any]) -> Any:
    """Return a copy with replaced parts, or the object itself if no part changes."""
    if isinstance(value, dict):
        items = {key: replaced(part) for key, part in value.items()}
        if all(items[key] is part for key, part in value.items()):
            return value
        copied = type(value)()
        copied.update(items)
        return copied
    if type(value) in (list, tuple):
        parts = [replaced(part) for part in value]
        same = all(new is old for new, old in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    if isinstance(value, type | ModuleType):
        return value
    if not isinstance(getattr(value, "__dict__", None), dict):
        return value
    attributes = replaced(vars(value))
    if attributes is vars(value):
        return value
    copied = object.__new__(type(value))
    vars(copied).update(attributes)
    return copied
