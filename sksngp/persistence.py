"""Fitted models in files that cannot run code, and that are read whole or not at all.

A file is the line ``sksngp model 1``, the BLAKE2b hash of the rest, and the rest: what
skops (https://skops.readthedocs.io) makes of the model, arrays and JSON in a ZIP
archive. Where pickle would run whatever a file tells it to, skops builds objects of
listed types only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from ._base import BaseNetworkClassifier
from ._files import write_atomically

__all__ = [
    "FORMAT",
    "TRUSTED_TYPES",
    "ModelFileError",
    "load",
    "save",
]

#: Types that a file may hold beside those of scikit-learn and NumPy that skops trusts
#: by itself; for `skops.io.load` too. The last ones are what
#: searches and calibrated classifiers are made of.
TRUSTED_TYPES = (
    "numpy.dtype",  # of what a SimpleImputer was fitted on
    "sksngp._deep_ensemble.DeepEnsembleClassifier",
    "sksngp._mc_dropout.MCDropoutClassifier",
    "sksngp._resnet.ResNetClassifier",
    "sksngp._sngp.SNGPClassifier",
    "sksngp.body.Body",
    "sksngp.posterior.Posterior",
    "sksngp.projection.InputProjection",
    "sksngp.wide_resnet.WideResNet",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    # What scorers of scikit-learn 1.7 hold: which metadata they ask for.
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
)
#: Raised with each change that older versions cannot read.
FORMAT = 1
_MAGIC = b"sksngp model "
_HASH_BYTES = 32


class ModelFileError(ValueError):
    """A file is not a model, is damaged, or holds what must not be loaded."""


def save(model: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Save a fitted model.

    Parameters
    ----------
    model : estimator
        Fitted classifier of this package, or a pipeline or search with one in it and
        scikit-learn's own types around it.
    path : str or path-like
        A file that exists is replaced, as a whole or not at all.

    Raises
    ------
    ModelFileError
        If `load` would refuse the file; nothing is written.
    OSError
        If the file cannot be written; an old one is kept.
    ImportError
        Without skops: ``pip install skops``.

    See Also
    --------
    load : Load it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import SNGPClassifier
    >>> from sksngp.persistence import load, save
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SNGPClassifier(epochs=2, num_inducing=64, random_state=0).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(clf, Path(folder, "iris.sksngp"))
    ...     same = load(Path(folder, "iris.sksngp"))
    >>> bool((same.predict_proba(X) == clf.predict_proba(X)).all())
    True
    """
    _check_models(model)
    body = _skops().dumps(model)
    _refuse_foreign_types(body)
    first_line = b"%s%d\n" % (_MAGIC, FORMAT)
    write_atomically(
        path, lambda stream: stream.writelines([first_line, _hash(body), body])
    )


def load(path: str | os.PathLike[str]) -> Any:
    """Load a model that `save` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    estimator
        As it was saved.

    Raises
    ------
    ModelFileError
        If the file isn't such a file, comes from a later version, is damaged, or holds
        types other than `TRUSTED_TYPES` and those that skops trusts, or arrays that do
        not fit together.
    OSError
        If it cannot be read.
    ImportError
        Without skops: ``pip install skops``.

    See Also
    --------
    save : Save a model.
    """
    _skops()
    with open(path, "rb") as stream:
        return _decode(stream.read())


def _decode(data: bytes) -> Any:
    body = _checked_body(data)
    _refuse_foreign_types(body)
    try:
        model = _skops().loads(body, trusted=list(TRUSTED_TYPES))
    except Exception as error:
        raise ModelFileError(f"The file's model cannot be built: {error}") from error
    _check_models(model)
    return model


def _skops() -> ModuleType:
    try:
        import skops.io
    except ImportError:
        raise ImportError(
            "Saving and loading models needs skops: pip install skops"
        ) from None
    return skops.io


def _hash(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_HASH_BYTES).digest()


def _checked_body(data: bytes) -> bytes:
    """What follows the first line and the hash, if it is what was written."""
    line, newline, rest = data.partition(b"\n")
    version = line.removeprefix(_MAGIC)
    if not (newline and line.startswith(_MAGIC) and version.isdigit()):
        raise ModelFileError("The file is not a model saved by sksngp.")
    if int(version[:9]) != FORMAT:
        raise ModelFileError(
            f"The file has format {version[:9].decode()}; this version of sksngp reads "
            f"format {FORMAT}."
        )
    body = rest[_HASH_BYTES:]
    if rest[:_HASH_BYTES] != _hash(body):
        raise ModelFileError("The file is damaged: its hash is another.")
    return body


def _refuse_foreign_types(body: bytes) -> None:
    try:
        types = _skops().get_untrusted_types(data=body)
    except Exception as error:
        raise ModelFileError(f"The file's model cannot be read: {error}") from error
    foreign = sorted(set(types) - set(TRUSTED_TYPES))
    if foreign:
        raise ModelFileError(
            f"The model holds types that are not trusted: {', '.join(foreign)}. Use "
            "skops.io directly if you know that they are harmless."
        )


def _check_models(model: Any) -> None:
    """Check the classifiers of this package in a model; there must be one."""
    found = list(_classifiers(model, set()))
    if not found:
        raise ModelFileError(
            "The model holds no fitted classifier of sksngp; use skops.io for others."
        )
    for classifier in found:
        try:
            faults = list(_faults(classifier))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            faults = [str(error)]
        if faults:
            raise ModelFileError(
                f"The {type(classifier).__name__} is unsound: {'; '.join(faults)}."
            )


def _faults(classifier: BaseNetworkClassifier) -> Iterator[str]:
    """What is wrong with the arrays of a fitted classifier."""
    for name, fitted in classifier._fitted_arrays().items():
        fault = fitted.fault()
        if fault:
            yield f"{name} {fault}"
    classes = classifier.classes_
    if not np.array_equal(np.unique(classes), classes):
        yield "classes_ are not in order, or some occur twice"
    if not float(classifier.ood_threshold_) >= 0:
        yield f"ood_threshold_ is {classifier.ood_threshold_}"


def _classifiers(part: Any, seen: set[int]) -> Iterator[BaseNetworkClassifier]:
    """Fitted classifiers of this package anywhere in an estimator's attributes."""
    if id(part) in seen or isinstance(part, (str, bytes, np.ndarray)):
        return
    seen.add(id(part))
    if isinstance(part, BaseNetworkClassifier):
        if hasattr(part, "weights_"):
            yield part
    elif isinstance(part, BaseEstimator):
        yield from _classifiers(vars(part), seen)
    elif isinstance(part, (dict, list, tuple)):
        # Nothing made here goes into `seen`: its id would come again once it is gone.
        for item in part.values() if isinstance(part, dict) else part:
            yield from _classifiers(item, seen)
