"""One run of `benchmarks.tables`: a method is fitted to a table and evaluated.

A run has two fits. The first uses all classes; its test samples are compared with three
kinds of OOD samples that are made from them. If the table has more than two classes,
the second fit omits a class, whose samples are the fourth kind.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks._tools.detectors import Answer, FlaggingAnswer
from benchmarks._tools.keel_tables import Table, load_table
from benchmarks._tools.measures import evaluate
from benchmarks._tools.table_methods import METHODS
from sksngp.datasets import InOut, hold_out_classes, shuffle_columns

HELD_OUT, SHUFFLED, MOVED, FAR = KINDS = (
    "held-out class",
    "shuffled columns",
    "one feature moved",
    "far",
)
#: Standard deviations by which one feature is moved.
MOVE = 5
#: Shortest and longest distance of far samples, in standard deviations per feature.
DISTANCES = (10, 20)


@dataclass(frozen=True)
class Run:
    """Identification of a result.

    Parameters
    ----------
    table : str
        A name in `benchmarks._tools.keel_tables.TABLES`.
    seed : int
        Seed of the split, of the OOD samples and of the method.
    method : str
        A name in `METHODS`.
    version : str
        Version of the package that the method comes from.
    max_rows : int or None
        Maximum number of training samples.
    """

    table: str
    seed: int
    method: str
    version: str
    max_rows: int | None


# Data


def stratified(X, y, max_rows: int | None, rng) -> tuple[np.ndarray, np.ndarray]:
    """Draw at most `max_rows` samples, the same fraction of each class."""
    if max_rows is None or len(y) <= max_rows:
        return X, y
    position = np.empty(len(y))
    for label in np.unique(y):
        own = rng.permutation(np.flatnonzero(y == label))
        position[own] = np.arange(len(own)) / len(own)
    chosen = np.argsort(position, kind="stable")[:max_rows]
    return X[chosen], y[chosen]


def split(table: Table, seed: int, max_rows: int | None) -> InOut:
    """Split a table into 70% training and 30% test samples."""
    X_train, X_test, y_train, y_test = train_test_split(
        table.X, table.y, test_size=0.3, stratify=table.y, random_state=seed
    )
    X_train, y_train = stratified(
        X_train, y_train, max_rows, np.random.default_rng(seed)
    )
    return InOut(X_train=X_train, X_test=X_test, y_train=y_train, y_test=y_test)


def without_a_class(table: Table, seed: int, max_rows: int | None) -> InOut:
    """Split a table; the samples of one class, chosen by the seed, are OOD."""
    classes = np.random.default_rng(0).permutation(np.unique(table.y))
    unseen = classes[seed % len(classes)]
    data = hold_out_classes(table.X, table.y, [unseen], random_state=seed)
    data.X_train, data.y_train = stratified(
        data.X_train, data.y_train, max_rows, np.random.default_rng(seed)
    )
    return data


def shuffled(X: np.ndarray, column: np.ndarray, seed: int) -> np.ndarray:
    """Shuffle the original columns; one-hot features of a column stay together."""
    numbers = np.tile(np.arange(len(X))[:, None], (1, column.max() + 1))
    order = shuffle_columns(numbers, random_state=seed)
    return np.take_along_axis(X, order[:, column], axis=0)


def moved(X: np.ndarray, spread: np.ndarray, rng) -> np.ndarray:
    """Move one random feature of each sample by `MOVE` standard deviations."""
    X, rows = X.copy(), np.arange(len(X))
    feature = rng.choice(np.flatnonzero(spread), size=len(X))
    X[rows, feature] += MOVE * spread[feature] * rng.choice([-1, 1], size=len(X))
    return X


def far(X: np.ndarray, spread: np.ndarray, rng) -> np.ndarray:
    """Move each sample far in a random direction of the standardized features."""
    direction = rng.normal(size=X.shape)
    direction /= np.sqrt(np.mean(direction**2, axis=1, keepdims=True))
    return X + rng.uniform(*DISTANCES, size=(len(X), 1)) * direction * spread


def ood_samples(data: InOut, column: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Create OOD samples of each kind from the test samples."""
    rng, spread = np.random.default_rng(seed), data.X_train.std(axis=0)
    return {
        SHUFFLED: shuffled(data.X_test, column, seed),
        MOVED: moved(data.X_test, spread, rng),
        FAR: far(data.X_test, spread, rng),
    }


# Measures


def measure(
    answer: Answer, X_test: np.ndarray, y_test: np.ndarray, ood: dict[str, np.ndarray]
) -> dict[str, float]:
    """Compute all measures of one answer.

    Parameters
    ----------
    answer : Answer
    X_test, y_test : ndarray
        New samples and their classes, numbered from 0.
    ood : dict of str to ndarray
        OOD samples by kind.

    Returns
    -------
    dict of str to float
    """
    known = answer.score(X_test)
    found: dict[str, float] = {}
    for kind, X_ood in ood.items():
        parts = Answer(
            lambda X: known if X is X_test else answer.score(X),
            None if found else answer.proba,  # evaluate the probabilities once
        )
        measures = evaluate(parts, InOut(X_test=X_test, X_ood=X_ood), y_test)
        for name in ("AUROC", "FPR95"):
            measures[f"{name} {kind}"] = measures.pop(name)
        found |= measures
    if isinstance(answer, FlaggingAnswer) and answer.flags is not None:
        found["flagged new"] = answer.flags(X_test).mean()
        for kind, X_ood in ood.items():
            found[f"flagged {kind}"] = answer.flags(X_ood).mean()
    return {name: float(value) for name, value in found.items()}


def fit_and_measure(
    fit: Callable, data: InOut, ood: dict[str, np.ndarray], seed: int
) -> dict[str, dict[str, float]]:
    """Fit a method to the training samples; return the measures of each answer."""
    classes, y = np.unique(data.y_train, return_inverse=True)
    start = time.perf_counter()
    answers = fit(data.X_train, y, seed)
    seconds = time.perf_counter() - start
    y_test = np.searchsorted(classes, data.y_test)
    return {
        name: measure(answer, data.X_test, y_test, ood) | {"fit s": seconds}
        for name, answer in answers.items()
    }


def perform(run: Run) -> dict[str, dict[str, float]]:
    """Perform a run; return the measures of each answer of the method.

    Parameters
    ----------
    run : Run

    Returns
    -------
    dict of str to dict of str to float
        Empty if the method does not support this number of samples.
    """
    table, fit = load_table(run.table), METHODS[run.method].fit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about convergence and few samples
        data = split(table, run.seed, run.max_rows)
        ood = ood_samples(data, table.column, run.seed)
        found = fit_and_measure(fit, data, ood, run.seed)
        if not found or len(np.unique(table.y)) < 3:
            return found
        data = without_a_class(table, run.seed, run.max_rows)
        unseen = fit_and_measure(fit, data, {HELD_OUT: data.X_ood}, run.seed)
    for name, measures in unseen.items():
        found[name] |= {key: measures[key] for key in measures if HELD_OUT in key}
    return found
