"""Saving and loading of fitted models in files that cannot execute code.

A file consists of the line ``sksngp model 3``, a hash of this format and of the
remaining bytes, and the archive that skops (https://skops.readthedocs.io) creates from
the model. The archive is a ZIP file of arrays and JSON. In contrast to pickle, which
executes any code that a file contains, only objects of trusted types are created.

Classifiers of this package can be saved on their own or inside pipelines, searches,
voting, stacking and calibrated classifiers of scikit-learn. These may contain the
transformers, selectors, splitters and scorers of scikit-learn, the frozen distributions
of SciPy and the functions of NumPy that are listed in `TRUSTED_TYPES`. The following
objects cannot be saved:

- trees and forests, support vector machines with kernels, neighbors and clusterers,
  because their compiled code relies on numbers that a file could forge;
- sparse matrices;
- user-defined functions and classes;
- pipelines with `memory`, and vectorizers that read files.

A file is checked before any object is created: its archive must not have compressed
entries, the sizes of its arrays must agree with their headers, and it may have at most
60,000 objects, 100 levels and 32 MiB of text. Loading a file requires memory of about
three times its size.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from sklearn.base import BaseEstimator

from ._persistence.consistency import find_errors, fitted_classifiers, objects
from ._persistence.older import RENAMED, with_current_names
from ._persistence.records import RECORDS, for_file, with_records
from ._persistence.structure import UntrustedError, check_archive, used_types
from ._persistence.trusted import function_names, trusted_classes
from ._runtime.files import write_atomically
from ._runtime.garbage_collection import collector_paused

__all__ = [
    "FORMAT",
    "TRUSTED_TYPES",
    "ModelFileError",
    "load",
    "save",
]

#: Names of the types and functions that a file may contain in addition to numbers, text
#: and containers. The names can also be passed to `skops.io.load`.
TRUSTED_TYPES = tuple(sorted(trusted_classes() | function_names() | RECORDS))
#: Version of the file format. It increases with each incompatible change.
FORMAT = 3
_MAGIC = b"sksngp model "
_HASH_BYTES = 32
_LONGEST_FIRST_LINE = 64


class ModelFileError(ValueError):
    """Raised if a file is not a model, is corrupted, or holds untrusted objects."""


def save(model: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Save a fitted model.

    The samples that a classifier stores between calls of `partial_fit` are omitted from
    the file. A loaded classifier continues as after a call of `fit`. Some transformers,
    such as `KNNImputer`, contain training samples, which are written to the file.

    Parameters
    ----------
    model : estimator
        Fitted classifier of this package, or a scikit-learn estimator that contains
        one, such as a pipeline or a search. The module documentation lists the
        supported estimators.
    path : str or path-like
        File to write. An existing file is replaced atomically.

    Raises
    ------
    ModelFileError
        If `load` would reject the file. No file is written.
    OSError
        If the file cannot be written. An existing file remains unchanged.
    ImportError
        If skops is not installed (extra ``persistence``).

    See Also
    --------
    load : Load a saved model.

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
    _require_classifier(model)
    with _errors_of_models():
        stored = for_file(model)
        body = _skops().dumps(with_records(stored))
    _check_and_convert(body)
    _check_objects(stored)
    first_line = b"%s%d\n" % (_MAGIC, FORMAT)
    write_atomically(
        path, lambda stream: stream.writelines([first_line, _hash(body), body])
    )


def load(path: str | os.PathLike[str]) -> Any:
    """Load a model that was saved with `save`.

    Parameters
    ----------
    path : str or path-like
        File to read.

    Returns
    -------
    model : estimator
        Fitted model.

    Raises
    ------
    ModelFileError
        If the file was not written by `save`, has the format of a later version, is
        corrupted, exceeds a bound or the available memory, or contains untrusted types
        or invalid objects.
    OSError
        If the file cannot be read.
    ImportError
        If skops is not installed (extra ``persistence``).

    See Also
    --------
    save : Save a fitted model.
    """
    _skops()
    try:
        return _decode(_read(path))
    except MemoryError:
        raise ModelFileError(
            "Not enough memory is available to load the file."
        ) from None


def _read(path: str | os.PathLike[str]) -> bytes:
    # Without this flag, `open` would block if the path is a pipe without a writer.
    nonblocking = getattr(os, "O_NONBLOCK", 0)
    with open(
        path, "rb", opener=lambda name, flags: os.open(name, flags | nonblocking)
    ) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ModelFileError(f"{os.fspath(path)!r} is not a regular file.")
        start = stream.read(_LONGEST_FIRST_LINE)
        _check_first_line(start)  # before reading the rest, which may be large
        stream.seek(0)
        return stream.read()


def _decode(data: bytes) -> Any:
    version, start = _check_first_line(data[:_LONGEST_FIRST_LINE])
    body = memoryview(data)[start + _HASH_BYTES :]
    if data[start : start + _HASH_BYTES] != _hash(body, version):
        raise ModelFileError(
            "The file is corrupted: its hash does not match its content."
        )
    with collector_paused():  # loading creates many objects
        model = _build(_check_and_convert(data, version))
    _require_classifier(model)
    _check_objects(model)
    return model


def _build(data: bytes) -> Any:
    try:
        return _skops().load(io.BytesIO(data), trusted=used_types(data))
    except Exception as error:
        raise ModelFileError(
            f"The model in the file cannot be created: {error}"
        ) from error


@contextmanager
def _errors_of_models() -> Iterator[None]:
    """Convert errors that occur while a model is stored to a ModelFileError."""
    try:
        yield
    except ImportError:
        raise
    except RecursionError:
        reason = "it contains itself, or has too many levels"
    except Exception as error:
        reason = str(error)
    else:
        return
    raise ModelFileError(f"The model cannot be stored: {reason}.")


def _skops() -> ModuleType:
    try:
        import skops.io
    except ModuleNotFoundError:
        raise ImportError(
            "Saving and loading models requires skops. Use `pip install skops`."
        ) from None
    return skops.io


def _hash(body: bytes | memoryview, version: int = FORMAT) -> bytes:
    """Compute the hash of an archive and, since format 3, of its format."""
    person = b"" if version < 3 else b"format %d" % version
    return hashlib.blake2b(body, digest_size=_HASH_BYTES, person=person).digest()


def _check_first_line(data: bytes) -> tuple[int, int]:
    """Return the format of the file and the position of the hash."""
    line, newline, _ = data.partition(b"\n")
    version = line.removeprefix(_MAGIC)
    if not (newline and line.startswith(_MAGIC) and version.isdigit()):
        raise ModelFileError("The file is not a model saved by sksngp.")
    if not 1 <= int(version) <= FORMAT:
        raise ModelFileError(
            "The format of the file must be between 1 and "
            f"{FORMAT} for this version of sksngp, got {version[:9].decode()}."
        )
    return int(version), len(line) + 1


def _check_and_convert(data: bytes, version: int = FORMAT) -> bytes:
    """Check an archive, and return it in the current format."""
    try:
        if version < RENAMED:
            data = with_current_names(data)
        check_archive(data)
    except UntrustedError as error:
        raise ModelFileError(
            f"The model holds types that are not trusted: {error}. Files cannot hold "
            "user-defined code, or types whose compiled code relies on numbers that a "
            "file could forge, such as trees; see sksngp.persistence. If you know that "
            "these types are harmless, use skops.io directly."
        ) from None
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise ModelFileError(
            f"The model in the file cannot be read: {reason}."
        ) from error
    return data


def _require_classifier(model: Any) -> None:
    if not fitted_classifiers(model):
        raise ModelFileError(
            "The model must contain a fitted classifier of sksngp. Fit it first. Use "
            "skops.io for other models."
        )


def _check_objects(model: Any) -> None:
    """Check all objects in a model."""
    for part in objects(model):
        try:
            found = list(find_errors(part))
        except Exception as error:  # an attribute is missing or has the wrong type
            found = [str(error) or repr(error)]
        if found:
            raise ModelFileError(
                f"The {type(part).__name__} is invalid: {'; '.join(found)}."
            )
