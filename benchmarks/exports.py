"""Sizes, latencies and rounding errors of exported models.

Run ``python -m benchmarks.exports`` (about 20 minutes). Each classifier is fitted with
its defaults and few epochs on the digits. Sizes are of the model file, the SavedModel's
directory and the ONNX model. Latencies are those of all outputs for one row: of the
methods that compute them, and of one call of each exported model with one thread.

The second table compares the outputs of ONNX models with the results of the methods,
for SNGP with its defaults in float32 and in float64, on `SPLITS` splits of each data
set. Test samples are used as they are, and multiplied by 3 and by 100. The table has
the largest difference of probabilities, the largest difference of scores relative to
the score (or to 1), the fraction of scores that differ by more than 1e-6 in this
measure, and the numbers of different labels, p-values and flags.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from benchmarks._tools.printing import print_header, table
from benchmarks._tools.timing import alternate
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp.persistence import save

CLASSIFIERS = (
    SNGPClassifier,
    ResNetClassifier,
    MCDropoutClassifier,
    DeepEnsembleClassifier,
)

#: Splits of each dataset on which ONNX models are compared with the methods.
SPLITS = 5


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a directory."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def methods(clf, row: np.ndarray) -> Callable[[int], None]:
    """All outputs of one row by the methods of a classifier."""

    def call(number: int) -> None:
        clf.predict_proba(row)
        for kind in ("total", "aleatoric", "epistemic"):
            clf.predict_uncertainty(row, kind=kind)
        clf.score_samples(row)
        clf.ood_pvalue(row)
        clf.predict_ood(row)

    return call


def savedmodel(path: Path, row: np.ndarray) -> Callable[[int], dict]:
    """All outputs of one row by a SavedModel."""
    import tensorflow as tf

    model = tf.saved_model.load(str(path))
    signature, inputs = model.signatures["serving_default"], tf.constant(row)
    return lambda number, model=model: {
        name: output.numpy() for name, output in signature(inputs=inputs).items()
    }


def onnx(path: Path, row: np.ndarray) -> Callable[[int], list]:
    """Return a function that computes all outputs of one row by an ONNX model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    return lambda number: session.run(None, {"inputs": row})


def line(Classifier, folder: Path, repeats: int) -> list[str]:
    """Measure one classifier."""
    X, y = load_digits(return_X_y=True)
    clf = Classifier(epochs=5, random_state=0).fit(X, y)
    files = [folder / name for name in ("model.sksngp", "model", "model.onnx")]
    save(clf, files[0])
    clf.export_savedmodel(files[1])
    clf.export_onnx(files[2])
    row = X[:1]
    calls = {
        "methods": methods(clf, row),
        "SavedModel": savedmodel(files[1], row),
        "ONNX": onnx(files[2], row),
    }
    seconds, _ = alternate(calls, repeats)
    sizes = [f"{size_of(file) / 1e6:.1f}" for file in files]
    times = [f"{1000 * np.median(seconds[name]):.2f}" for name in calls]
    return [Classifier.__name__, *sizes, *times]


def differences(
    name: str, dtype: str, seed: int, folder: Path
) -> dict[str, np.ndarray]:
    """Compare an ONNX model of SNGP with the methods on a dataset, row by row."""
    import onnxruntime

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X, X_test, y, _ = train_test_split(X, y, test_size=0.5, random_state=seed)
    clf = SNGPClassifier(dtype=dtype, random_state=seed).fit(X, y)
    clf.export_onnx(folder / "model.onnx")
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    rows = np.concatenate([X_test, 3.0 * X_test, 100.0 * X_test])
    names = ["label", "probabilities", "ood_score", "ood_pvalue", "ood"]
    label, proba, score, pvalue, ood = session.run(names, {"inputs": rows})
    expected = -clf.score_samples(rows)
    return {
        "labels": label != clf.predict(rows),
        "probabilities": abs(proba - clf.predict_proba(rows)).max(axis=1),
        "scores": abs(score - expected) / np.maximum(1.0, abs(expected)),
        "pvalues": abs(pvalue - clf.ood_pvalue(rows)),
        "flags": ood != clf.predict_ood(rows),
    }


def agreement(name: str, dtype: str) -> list[str]:
    """Summarize the differences on several splits of a dataset."""
    parts = []
    for seed in range(SPLITS):
        with tempfile.TemporaryDirectory() as folder:
            parts.append(differences(name, dtype, seed, Path(folder)))
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return [
        name,
        dtype,
        str(len(joined["scores"])),
        f"{joined['probabilities'].max():.1e}",
        f"{joined['scores'].max():.1e}",
        f"{(joined['scores'] > 1e-6).mean():.5f}",
        str(joined["labels"].sum()),
        str((joined["pvalues"] > 1e-9).sum()),
        str(joined["flags"].sum()),
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure exported models.")
    parser.add_argument("--repeats", type=int, default=30, help="calls of each")
    options = parser.parse_args()
    print_header()
    lines = []
    for Classifier in CLASSIFIERS:
        with tempfile.TemporaryDirectory() as folder:
            lines.append(line(Classifier, Path(folder), options.repeats))
    header = ["classifier", "file MB", "SavedModel MB", "ONNX MB"]
    header += ["methods ms", "SavedModel ms", "ONNX ms"]
    print(table(header, lines))
    lines = []
    for dtype in ("float32", "float64"):
        for name in ("iris", "wine", "breast_cancer", "digits"):
            lines.append(agreement(name, dtype))
    header = ["data", "dtype", "samples", "probabilities", "scores"]
    header += ["scores above 1e-6"]
    print("\nDifferences between ONNX models and methods, SNGP")
    print(table([*header, "labels", "p-values", "flags"], lines))


if __name__ == "__main__":
    main()
