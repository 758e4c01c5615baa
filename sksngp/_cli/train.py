"""Training on a table: description of the table, cross-check and final fit."""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from .. import predict_ood
from .._data.holdout import MIN_SAMPLES_IN_FOLDS
from .._uncertainty.conformal import min_calibration_size
from ..exceptions import FewSamplesWarning
from ..inspection import ReliabilityDisplay
from . import classifiers
from .columns import Choice, choose_columns, describe_styles
from .features import Features, read_features
from .labels import commonest, read_labels
from .model import Model
from .pipeline import MIN_ROWS, build_pipeline, split_rows
from .report import Report
from .spelling import Spellings
from .tables import Table, check_names, listed, read_table

#: Names of the kinds of columns in the report.
KINDS = {"number": "numeric", "time": "time", "text": "text"}
#: Maximum number of classes or columns in a line.
NUM_SHOWN = 20


@dataclass
class TrainingData:
    """Training table, labels and features."""

    table: Table
    target: str
    labels: np.ndarray
    spellings: Spellings
    choice: Choice
    features: Features
    num_distinct: int


def read_training_data(options: argparse.Namespace) -> TrainingData:
    """Read the training table.

    Parameters
    ----------
    options : Namespace
        Options of the command line.

    Returns
    -------
    TrainingData
        Table, labels and features.

    Raises
    ------
    InputError
        If the table is invalid or lacks columns named in the options.
    """
    table = read_table(options.data)
    labels, spellings = read_labels(table, options.target)
    check_names(table, [*options.drop, *options.keep])
    choice = choose_columns(table, options.target, options.drop, options.keep)
    features = read_features(table, choice.columns)
    return TrainingData(
        table=table,
        target=options.target,
        labels=labels,
        spellings=spellings,
        choice=choice,
        features=features,
        num_distinct=features.num_distinct(),
    )


def describe(data: TrainingData, report: Report) -> None:
    """Report how a training table was interpreted."""
    names, counts = np.unique(data.labels, return_counts=True)
    separator = data.table.separator
    report.section("Training data")
    report.say(
        f"{data.table.path}: {len(data.labels):,} rows, {len(names):,} classes of "
        f"{data.target!r}"
        + ("" if separator == "," else f", separated by {separator!r}")
    )
    _describe_classes(data, names, counts, report)
    for kind, title in KINDS.items():
        used = [c.name for c in data.choice.columns if c.kind == kind]
        if used:
            report.say(f"  {title} columns ({len(used)}): {listed(used)}")
    report_missing(data.features, report)
    for name, reason in data.choice.left_out.items():
        report.say(f"  left out: {name!r}, {reason}")
    for remark in [*describe_styles(data.choice.styles), *data.choice.remarks]:
        report.say(f"  note: {remark}")
    if data.num_distinct < len(data.labels) / 2:
        report.say(
            f"  note: only {data.num_distinct:,} of the {len(data.labels):,} rows are "
            "different from each other in the columns used"
        )
    report.table(
        pd.DataFrame(
            {
                "column": column.name,
                "used as": column.kind,
                "missing": f"{column.missing:.1%}",
                "different values": data.table.cells[column.name].nunique(),
            }
            for column in data.choice.columns
        ),
        "Columns used",
    )


def _describe_classes(
    data: TrainingData, names: np.ndarray, counts: np.ndarray, report: Report
) -> None:
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(
        f"'{names[i]}' {counts[i]:,} ({counts[i] / counts.sum():.1%})"
        for i in order[:NUM_SHOWN]
    )
    more = f" and {len(names) - NUM_SHOWN:,} more" if len(names) > NUM_SHOWN else ""
    report.say(f"  rows of each class: {shown}{more}")
    rare = names[counts < MIN_ROWS]
    if len(rare):
        report.say(f"  note: few rows, perhaps misspelled: {listed(rare.tolist())}")
    for remark in data.spellings.merged() + data.spellings.apart():
        report.say(f"  note: {data.target!r}: {remark}")
    frame = pd.DataFrame({"class": names[order], "rows": counts[order]})
    report.table(frame, f"Classes of {data.target!r}")


def report_missing(
    features: Features, report: Report, training: dict[str, float] | None = None
) -> None:
    """Report the number of missing cells of each column.

    If `training` is given, the fractions in the training table are reported as well.
    """
    counts = features.missing.sum()
    counts = counts[counts > 0].sort_values(ascending=False)
    if counts.empty:
        return
    shown = []
    for name, count in counts[:NUM_SHOWN].items():
        before = "" if training is None else f"; {training[name]:.1%} in training"
        shown.append(f"{name!r} {count:,} ({count / len(features.values):.1%}{before})")
    more = f" and {len(counts) - NUM_SHOWN:,} more" if len(counts) > NUM_SHOWN else ""
    report.say(f"  missing cells, filled in: {', '.join(shown)}{more}")


def cross_check(
    data: TrainingData, options: argparse.Namespace, report: Report
) -> None:
    """Train on three quarters of the rows, and report metrics on the other rows."""
    report.section("Cross-check")
    split = split_rows(data.labels, options.random_state)
    if split is None:
        report.say(
            f"Cross-check: left out, because no class has {MIN_ROWS} rows or more"
        )
        return
    train, held_out = split
    report.progress("Training for the cross-check ...")
    pipeline = _fit(data, options, train)
    classifier = pipeline[-1]
    X, y = data.features.values.iloc[held_out], data.labels[held_out]
    proba = pipeline.predict_proba(X)
    quality = classifiers.quality(y, proba, classifier.classes_)
    has_threshold = np.isfinite(classifier.ood_threshold_)
    flagged = f"{predict_ood(pipeline, X).mean():.1%}"
    report.say(
        f"Cross-check: {type(classifier).__name__} trained on {len(train):,} rows, on "
        f"the {len(held_out):,} others: accuracy {quality.accuracy:.3f}, NLL "
        f"{quality.nll:.3f}, ECE {quality.ece:.3f}, flagged "
        f"{flagged if has_threshold else 'none (too few rows)'}"
    )
    _explain(quality, y, classifier.ood_alpha, report)
    _show_classes(y, proba, classifier.classes_, report)


def _explain(
    quality: classifiers.Quality, y: np.ndarray, alpha: float, report: Report
) -> None:
    """Explain each metric of the cross-check in one line."""
    name, frequency = commonest(y)
    _, counts = np.unique(y, return_counts=True)
    frequencies = counts / counts.sum()
    verdict = "" if quality.accuracy > frequency else ": the classifier is no better"
    report.say(
        "  accuracy: fraction of rows whose predicted class is correct. Always "
        f"predicting the most frequent class, '{name}', gives {frequency:.3f}{verdict}"
    )
    report.say(
        "  NLL: mean negative log-likelihood of the true classes. 0 is best, and the "
        f"class frequencies alone give {-frequencies @ np.log(frequencies):.3f}"
    )
    report.say(
        "  ECE: mean difference between confidence and accuracy. A value of 0.05 "
        "means, for example, that predictions with a probability of 90% are correct in "
        "85% or 95% of cases"
    )
    report.say(
        "  flagged: fraction of rows flagged as unlike the training data. As these "
        f"rows are like it, about {100 * alpha:.3g}% or fewer should be flagged"
    )


def _show_classes(
    y: np.ndarray, proba: np.ndarray, classes: np.ndarray, report: Report
) -> None:
    """Add the results of each class and the reliability diagram to the page."""
    from matplotlib.figure import Figure

    predicted = classes[proba.argmax(axis=1)]
    report.table(
        pd.DataFrame(
            {
                "class": name,
                "rows": (y == name).sum(),
                "found": f"{np.mean(predicted[y == name] == name):.1%}",
                "right when predicted": (
                    f"{np.mean(y[predicted == name] == name):.1%}"
                    if (predicted == name).any()
                    else "never predicted"
                ),
            }
            for name in np.unique(y)
        ),
        "Rows of the cross-check, by class",
    )
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    ReliabilityDisplay.from_predictions(
        y, proba, labels=classes, ax=figure.add_subplot()
    )
    report.picture(figure, "Accuracy of predictions as a function of confidence")


def fit(data: TrainingData, options: argparse.Namespace, report: Report) -> Model:
    """Train on all rows."""
    report.progress(f"Training on all {len(data.labels):,} rows ...")
    return Model(
        pipeline=_fit(data, options, np.arange(len(data.labels))),
        columns=data.choice.columns,
        target=data.target,
        labels=data.spellings,
        source=data.table.path,
        num_rows=len(data.labels),
        num_distinct=data.num_distinct,
    )


def _fit(data: TrainingData, options: argparse.Namespace, rows: np.ndarray) -> Pipeline:
    classifier = classifiers.make_classifier(options.classifier or "sngp", options)
    pipeline = build_pipeline(data.choice.columns, classifier)
    with warnings.catch_warnings():
        # The report of the flags includes this information.
        warnings.simplefilter("ignore", FewSamplesWarning)
        return pipeline.fit(data.features.values.iloc[rows], data.labels[rows])


def rows_for_flags(alpha: float) -> int:
    """Return the minimum number of unique rows that is required to flag rows."""
    return max(min_calibration_size(alpha), MIN_SAMPLES_IN_FOLDS)
