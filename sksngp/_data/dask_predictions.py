"""Lazy predictions for dask collections."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted, validate_data

from .collections import check_table, is_dask
from .validation import flatten_images

Method = TypeVar("Method", bound=Callable[..., Any])


def lazy_on_dask(method: Method) -> Method:
    """Decorate a prediction method to return a lazy array for a dask collection.

    Parameters
    ----------
    method : callable
        Method of a classifier whose first argument is `X`. It returns an array with one
        element, or one row, for each sample.

    Returns
    -------
    callable
        Decorated method.
    """

    @wraps(method)
    def predict(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_dask(X):
            return method(self, X, *args, **kwargs)
        check_is_fitted(self)
        # A later fit must not change lazy predictions that already exist.
        return _lazily(copy.copy(self), method.__name__, X, args, kwargs)

    return cast(Method, predict)


def _lazily(
    model: Any, method: str, X: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    import dask
    import dask.array

    X = flatten_images(model, X, reset=False)
    check_table(X)
    if hasattr(X, "columns"):
        template = pd.DataFrame(np.empty((0, len(X.columns))), columns=X.columns)
        parts = X.to_delayed()
        sizes = [np.nan] * len(parts)
    else:
        template = np.empty((0, X.shape[1]))
        X = X.rechunk({1: -1})
        parts, sizes = X.to_delayed().ravel(), X.chunks[0]
    validate_data(model, template, reset=False, skip_check_array=True)
    empty = _like_result(model, method)
    # All tasks share one key, so that each worker receives the model once.
    shared = dask.delayed(model, traverse=False)
    blocks = [
        dask.array.from_delayed(
            dask.delayed(_predict_block)(shared, method, part, args, kwargs),
            shape=(size, *empty.shape[1:]),
            meta=empty,
        )
        for part, size in zip(parts, sizes, strict=True)
    ]
    return dask.array.concatenate(blocks, allow_unknown_chunksizes=True)


def _predict_block(
    model: Any, method: str, rows: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> np.ndarray:
    if not len(rows):
        return _like_result(model, method)
    return getattr(model, method)(rows, *args, **kwargs)


def _like_result(model: Any, method: str) -> np.ndarray:
    """Return an empty array with the shape and the dtype of a method's result."""
    if method in ("predict_proba", "predict_log_proba"):
        return np.empty((0, len(model.classes_)))
    kinds = {"predict": model.classes_.dtype, "predict_ood": np.dtype(bool)}
    return np.empty(0, kinds.get(method, np.float64))
