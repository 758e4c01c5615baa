"""Fitted models in files that cannot run code, and that are read whole or not at all.

A file is the line ``sksngp model 2``, the BLAKE2b hash of the rest, and the rest: what
skops (https://skops.readthedocs.io) makes of the model, arrays and JSON in a ZIP
archive. Where pickle would run whatever a file tells it to, skops builds objects of
listed types only.

Models of this package are stored alone or inside of scikit-learn's pipelines, searches,
votes, stacks and calibrated classifiers, with the transformers, selectors, splitters
and scorers of scikit-learn, the frozen distributions of SciPy and NumPy's functions
in `TRUSTED_TYPES`. Not stored are trees and forests, support vector machines with
kernels, neighbors and clusterers, as their compiled code trusts numbers that a file
could forge; sparse matrices; functions and classes of your own; pipelines with
`memory`, and vectorizers that read files.

A file is checked before anything in it is built: its archive has no compressed entry,
its arrays are as long as they say, and it has at most 60,000 objects, 100 levels and
32 MiB of text. Loading takes about three times the size of the file in memory.
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

from ._persistence.older import with_present_names
from ._persistence.records import RECORDS, for_file, with_records
from ._persistence.sound import faults, fitted_classifiers, objects
from ._persistence.structure import UntrustedError, check_archive, used_types
from ._persistence.trusted import function_names, trusted_classes
from ._runtime.collector import collector_paused
from ._runtime.files import write_atomically

__all__ = [
    "FORMAT",
    "TRUSTED_TYPES",
    "ModelFileError",
    "load",
    "save",
]

#: Names of the types and functions that a file may hold besides numbers, text and
#: containers; for `skops.io.load` too.
TRUSTED_TYPES = tuple(sorted(trusted_classes() | function_names() | RECORDS))
#: Raised with each change that older versions cannot read.
FORMAT = 2
_MAGIC = b"sksngp model "
_HASH_BYTES = 32
_LONGEST_FIRST_LINE = 64


class ModelFileError(ValueError):
    """A file is not a model, is damaged, or holds what must not be loaded."""


def save(model: BaseEstimator, path: str | os.PathLike[str]) -> None:
    """Save a fitted model.

    The samples that a stream of `partial_fit` calls remembers are left out of the file,
    and the loaded classifier continues as after a `fit`. Some transformers, such as
    `KNNImputer`, hold training samples.

    Parameters
    ----------
    model : estimator
        Fitted classifier of this package, or an estimator of scikit-learn with one in
        it, such as a pipeline or search. The description of the module says what may
        be around it.
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
    _require_classifier(model)
    with _errors_of_models():
        stored = for_file(model)
        body = _skops().dumps(with_records(stored))
    _checked_archive(body)
    _check_objects(stored)
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
        If the file is not such a file, comes from a later version, is damaged, exceeds
        a bound or the memory, or holds types that are not trusted or objects that are
        not sound.
    OSError
        If it cannot be read.
    ImportError
        Without skops: ``pip install skops``.

    See Also
    --------
    save : Save a model.
    """
    _skops()
    try:
        return _decode(_read(path))
    except MemoryError:
        raise ModelFileError("The file needs more memory than there is.") from None


def _read(path: str | os.PathLike[str]) -> bytes:
    # A pipe that nobody writes to would keep an ordinary `open` waiting.
    wait_for_nobody = getattr(os, "O_NONBLOCK", 0)
    with open(
        path, "rb", opener=lambda name, flags: os.open(name, flags | wait_for_nobody)
    ) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise ModelFileError(f"{os.fspath(path)!r} is not a regular file.")
        start = stream.read(_LONGEST_FIRST_LINE)
        _check_first_line(start)  # before the rest, which may be long, is read
        stream.seek(0)
        return stream.read()


def _decode(data: bytes) -> Any:
    version, start = _check_first_line(data[:_LONGEST_FIRST_LINE])
    body = memoryview(data)[start + _HASH_BYTES :]
    if data[start : start + _HASH_BYTES] != _hash(body):
        raise ModelFileError("The file is damaged: its hash is another.")
    with collector_paused():  # it would go through many new objects again and again
        model = _built(_checked_archive(data, version))
    _require_classifier(model)
    _check_objects(model)
    return model


def _built(data: bytes) -> Any:
    try:
        return _skops().load(io.BytesIO(data), trusted=used_types(data))
    except Exception as error:
        raise ModelFileError(f"The file's model cannot be built: {error}") from error


@contextmanager
def _errors_of_models() -> Iterator[None]:
    """Report errors of a model that is stored as a ModelFileError."""
    try:
        yield
    except ImportError:
        raise
    except RecursionError:
        reason = "it holds itself, or has too many levels"
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
            "Saving and loading models needs skops: pip install skops"
        ) from None
    return skops.io


def _hash(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_HASH_BYTES).digest()


def _check_first_line(data: bytes) -> tuple[int, int]:
    """Return the format, and where the hash begins."""
    line, newline, _ = data.partition(b"\n")
    version = line.removeprefix(_MAGIC)
    if not (newline and line.startswith(_MAGIC) and version.isdigit()):
        raise ModelFileError("The file is not a model saved by sksngp.")
    if not 1 <= int(version) <= FORMAT:
        raise ModelFileError(
            f"The file has format {version[:9].decode()}; this version of sksngp reads "
            f"formats 1 to {FORMAT}."
        )
    return int(version), len(line) + 1


def _checked_archive(data: bytes, version: int = FORMAT) -> bytes:
    """Check an archive; return it in the present format."""
    try:
        if version < FORMAT:
            data = with_present_names(data)
        check_archive(data)
    except UntrustedError as error:
        raise ModelFileError(
            f"The model holds types that are not trusted: {error}. Left out are code "
            "of your own and types whose compiled code relies on numbers that a file "
            "could forge, such as trees; see sksngp.persistence. Use skops.io directly "
            "if you know that they are harmless."
        ) from None
    except Exception as error:
        reason = str(error) if isinstance(error, ValueError) else repr(error)
        raise ModelFileError(f"The file's model cannot be read: {reason}.") from error
    return data


def _require_classifier(model: Any) -> None:
    if not fitted_classifiers(model):
        raise ModelFileError(
            "The model holds no fitted classifier of sksngp; use skops.io for others."
        )


def _check_objects(model: Any) -> None:
    """Check all that a model holds."""
    for part in objects(model):
        try:
            found = list(faults(part))
        except Exception as error:  # an attribute is missing, or of another type
            found = [str(error) or repr(error)]
        if found:
            raise ModelFileError(
                f"The {type(part).__name__} is unsound: {'; '.join(found)}."
            )
