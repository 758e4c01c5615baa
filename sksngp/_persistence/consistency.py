"""Validation of the objects in a loaded model.

Attributes are restored from a file without the constructors that would validate them.
The arrays of classifiers of this package must be consistent. The parameters of all
objects must be valid, and must not open files or start many processes. Indices that
compiled code uses must be in range.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import fields
from math import prod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import OneHotEncoder

from .._base import BaseNetworkClassifier
from .._data.holdout import HoldOut
from .._fitted_arrays import FittedArray
from .._networks.custom_architecture import CustomArchitecture
from .._networks.custom_function import NetworkFunction
from .._wide_resnet import WideResNet

#: Maximum absolute value of the parameter `n_jobs` of an estimator.
MAX_JOBS = 256
#: Length of the state of the generator MT19937 of NumPy.
_TWISTER_LENGTH = 624

_CHOICES: dict[str, tuple[object, ...]] = {
    "dropout": (False, True),
    "dtype": ("float32", "float64"),
    "mixed": (None, "bfloat16", "float16"),
    "normalized": (False, True),
    "optimizer": ("adam", "rmsprop", "sgd"),
}
_SMALLEST = {
    "members": 1,
    "num_hidden": 1,
    "num_inducing": 1,
    "num_layers": 0,
    "num_outputs": 1,
}


def objects(model: Any) -> Iterator[Any]:
    """Yield the model and all objects that it contains directly or indirectly, once."""
    seen: dict[int, Any] = {}  # references keep identities from being reused
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if id(part) not in seen:
            seen[id(part)] = part
            yield part
            waiting += _parts(part)


def _parts(part: Any) -> list[Any]:
    if isinstance(part, dict):
        inner = [*part.keys(), *part.values()]
        return inner if type(part) is dict else [*inner, *vars(part).values()]
    if isinstance(part, list | tuple | set | frozenset):
        return list(part)
    if isinstance(part, np.ndarray):
        return list(part.flat) if part.dtype.hasobject else []
    if isinstance(
        part, type | types.FunctionType | types.ModuleType | types.MethodType
    ):
        return []
    if type(part).__module__.startswith("scipy."):  # created by its constructor
        return []
    return list(getattr(part, "__dict__", {}).values())


def fitted_classifiers(model: Any) -> list[BaseNetworkClassifier]:
    """Return the fitted classifiers of this package in a model."""
    return [
        part
        for part in objects(model)
        if isinstance(part, BaseNetworkClassifier) and hasattr(part, "weights_")
    ]


def find_errors(part: Any) -> Iterator[str]:
    """Yield descriptions of the errors in an object, excluding its parts."""
    if isinstance(part, BaseEstimator):
        yield from _parameter_errors(part)
    if isinstance(part, BaseNetworkClassifier) and hasattr(part, "weights_"):
        yield from _classifier_errors(part)
    if isinstance(part, np.random.RandomState):
        position = part.get_state(legacy=False)["state"]["pos"]
        if not 0 <= position <= _TWISTER_LENGTH:
            yield f"its position is {position}"
    if isinstance(part, CountVectorizer) and hasattr(part, "vocabulary_"):
        columns = sorted(part.vocabulary_.values())
        if columns != list(range(len(columns))):
            yield "vocabulary_ does not map its terms to consecutive integers"
    if isinstance(part, OneHotEncoder) and hasattr(part, "categories_"):
        yield from _encoder_errors(part)


def _parameter_errors(estimator: BaseEstimator) -> Iterator[str]:
    if hasattr(estimator, "_parameter_constraints"):
        estimator._validate_params()  # its error names the parameter
    if getattr(estimator, "memory", None) is not None:
        yield "memory must be None in a model file, because it names a folder"
    if getattr(estimator, "input", "content") != "content":
        yield "input must be 'content' in a model file, to avoid reading local files"
    jobs = getattr(estimator, "n_jobs", None)
    if jobs is not None and not abs(int(jobs)) <= MAX_JOBS:
        yield f"n_jobs is {jobs}, above {MAX_JOBS}"


def _encoder_errors(encoder: OneHotEncoder) -> Iterator[str]:
    """Check attributes that a OneHotEncoder uses as column indices without a check."""
    sizes = [len(categories) for categories in encoder.categories_]
    if list(encoder._n_features_outs) != list(encoder._compute_n_features_outs()):
        yield "_n_features_outs differs from its categories"
    dropped = encoder._drop_idx_after_grouping
    for size, index in zip(sizes, [] if dropped is None else dropped, strict=False):
        if index is not None and not 0 <= index < size:
            yield f"it drops category {index} of {size}"
    mappings = getattr(encoder, "_default_to_infrequent_mappings", None) or []
    for size, mapping in zip(sizes, mappings, strict=False):
        if mapping is not None and not _is_grouping(np.asarray(mapping), size):
            yield "its infrequent categories are not grouped"


def _is_grouping(groups: np.ndarray, size: int) -> bool:
    """Return whether an array assigns each category to one of consecutive groups."""
    if groups.shape != (size,) or groups.dtype.kind not in "iu":
        return False
    numbers = np.unique(groups)
    return np.array_equal(numbers, np.arange(len(numbers)))


def _classifier_errors(classifier: BaseNetworkClassifier) -> Iterator[str]:
    """Yield descriptions of the errors in a fitted classifier."""
    counts = list(_architecture_errors(classifier))
    yield from counts
    if counts:  # computing the expected shapes would use the invalid numbers
        return
    for name, fitted in classifier._fitted_arrays().items():
        error = fitted.error()
        if error:
            yield f"{name} {error}"
    classes = classifier.classes_
    if not isinstance(classes, np.ndarray) or classes.dtype.kind not in "biufUSOM":
        yield "classes_ are not labels"
    elif not np.array_equal(np.unique(classes), classes):
        yield "classes_ are not sorted or not unique"
    if not float(classifier.ood_threshold_) >= 0:
        yield f"ood_threshold_ is {classifier.ood_threshold_}"
    yield from _hold_out_errors(classifier)


def _hold_out_errors(classifier: BaseNetworkClassifier) -> Iterator[str]:
    rule = classifier._hold_out
    if not isinstance(rule, HoldOut) or not isinstance(rule.key, int | np.integer):
        yield "the rule that holds out samples is not one"
        return
    if not 0 <= rule.key < 2**63:
        yield f"the key of the hash is {rule.key}"
    lengths = {"cutoffs": len(classifier.classes_), "held_out": None, "trained": None}
    for name, length in lengths.items():
        error = FittedArray(getattr(rule, name), (length,), "uint64").error()
        if error:
            yield f"{name} {error}"


def _architecture_errors(classifier: BaseNetworkClassifier) -> Iterator[str]:
    """Check the numbers in `architecture_` before they are used in computations."""
    architecture, weights = classifier.architecture_, classifier.weights_
    if not all(isinstance(array, np.ndarray) for array in weights.values()):
        yield "weights_ holds objects that are not arrays"
        return
    unknown = architecture.keys() - {field.name for field in fields(CustomArchitecture)}
    if unknown:
        yield f"architecture_ has the field {min(unknown, key=str)!r}"
    for name, value in architecture.items():
        if name in _CHOICES and value not in _CHOICES[name]:
            yield f"architecture_[{name!r}] is {value!r}"
        optional = name == "num_inducing" and value is None
        if name in _SMALLEST and not optional:
            if not isinstance(value, int | np.integer) or value < _SMALLEST[name]:
                yield f"architecture_[{name!r}] is {value!r}"
    if not architecture["num_layers"] <= len(weights):
        yield f"num_layers is {architecture['num_layers']} of {len(weights)} arrays"
    members = architecture.get("members", 1)
    if members > 1 and any(array.shape[:1] != (members,) for array in weights.values()):
        yield f"members is {members}, but arrays have other lengths"
    function = architecture.get("function")
    if function is not None:
        yield from _function_errors(function, classifier)


def _function_errors(function: Any, classifier: BaseNetworkClassifier) -> Iterator[str]:
    network = getattr(function, "network", None)
    if not (isinstance(function, NetworkFunction) and isinstance(network, WideResNet)):
        yield "the network is not a WideResNet, and other code cannot be stored"
        return
    weights = classifier.weights_
    if not network.depth <= 4 + len(weights):
        yield f"depth is {network.depth} of {len(weights)} arrays"
    if all(array.shape[-1:] != (64 * network.width,) for array in weights.values()):
        yield f"width is {network.width}, but no array has this width"
    num_values = prod(function.input_shape)
    if len(function.input_shape) != 3 or num_values != classifier.n_features_in_:
        yield f"the network expects images of shape {function.input_shape}"
