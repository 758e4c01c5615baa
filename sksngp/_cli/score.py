"""Scoring of a table: predictions, flags, and possible causes of the flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import ood_pvalue, ood_score
from .._uncertainty.conformal import threshold
from ..inspection import OODHistogramDisplay
from .columns import Column, describe_styles
from .features import Features, read_features
from .labels import commonest, known_labels
from .model import Model
from .moved import moved_columns, too_many_flags
from .numbers import DECIMAL_COMMAS
from .report import Report
from .tables import InputError, Table, listed, read_table, write_atomically
from .train import report_missing, rows_for_flags
from .unusual import describe_cells, flag_cells, rare_events

#: Columns that scoring adds. A column for the probability of each class follows.
RESULTS = (
    "prediction",
    "probability",
    "ood_score",
    "ood_pvalue",
    "out_of_distribution",
    "unusual_cells",
)
#: Number of rows on the page.
NUM_ROWS_SHOWN = 20


@dataclass
class NewData:
    """Table to score and its features."""

    table: Table
    features: Features


@dataclass
class Scores:
    """Results for the rows of a scored table.

    Parameters
    ----------
    proba : ndarray of shape (n, n_classes)
        Class probabilities.
    prediction : ndarray of str, shape (n,)
        Predicted classes.
    score, pvalue : ndarray of shape (n,)
        Out-of-distribution scores and their p-values.
    by_cell, flags : bool ndarray of shape (n,)
        Masks of the rows that are flagged for unusual cells, and of all flagged rows.
    threshold : float
        Score above which rows are flagged. It is infinite if the training table has too
        few rows.
    """

    proba: NDArray[np.float64]
    prediction: np.ndarray
    score: NDArray[np.float64]
    pvalue: NDArray[np.float64]
    by_cell: NDArray[np.bool_]
    flags: NDArray[np.bool_]
    threshold: float

    @property
    def able(self) -> bool:
        """Whether the training table has enough rows to flag rows by score."""
        return bool(np.isfinite(self.threshold))


def read_new_data(path: str, columns: Sequence[Column], classes: np.ndarray) -> NewData:
    """Read a table to score.

    Parameters
    ----------
    path : str
        File to read.
    columns : sequence of Column
        Columns that the model uses.
    classes : ndarray of str
        Classes of the model.

    Returns
    -------
    NewData
        Table and features.

    Raises
    ------
    InputError
        If the table does not match the training table, or already has a column that
        scoring adds.
    """
    table = read_table(path)
    names = [*RESULTS, *probability_names(classes)]
    taken = [name for name in names if name in table.cells.columns]
    if taken:
        raise InputError(
            f"{path}: already has {listed(taken)}, which scoring adds; rename first"
        )
    return NewData(table, read_features(table, columns))


def probability_names(classes: np.ndarray) -> list[str]:
    """Return the names of the columns of class probabilities."""
    return [f"probability_{label}" for label in classes]


def score(
    model: Model, new: NewData, alpha: float, output: str, report: Report
) -> None:
    """Write a table with predictions and flags, and report on the flags.

    Parameters
    ----------
    model : Model
        Trained model.
    new : NewData
        Table to score.
    alpha : float
        Maximum expected fraction of in-distribution rows that are flagged.
    output : str
        File to write.
    report : Report
        Report to extend.
    """
    scores = _compute(model, new.features, alpha)
    cells = describe_cells(new.features, model.columns)
    _write(model, new, scores, cells, output)
    num_flagged, num_rows = int(scores.flags.sum()), len(scores.flags)
    report.section("Rows of the new table")
    report.say(
        f"{new.table.path}: {num_flagged:,} of {num_rows:,} rows flagged as unlike the "
        f"training data ({num_flagged / num_rows:.1%}; of rows like it, at most "
        f"{100 * alpha:.3g}% in expectation); written to {output}"
    )
    for remark in [*describe_styles(new.features.styles), *new.features.remarks]:
        report.say(f"  note: {remark}")
    _report_cells(model, new.features, scores, report)
    if not scores.able:
        _report_too_few(model, alpha, report)
    if too_many_flags(num_flagged, num_rows, alpha):
        _report_moves(model, new.features, report)
    if model.target in new.table.cells.columns:
        report_accuracy(
            known_labels(new.table.cells[model.target], model.labels),
            scores,
            model.pipeline.classes_,
            report,
        )
    _show(model, new, scores, cells, report)


def _compute(model: Model, features: Features, alpha: float) -> Scores:
    """Predict, and flag rows by their cells and by their scores."""
    X = features.values
    proba = model.pipeline.predict_proba(X)
    pvalue = ood_pvalue(model.pipeline, X)
    events, rate = rare_events(model.columns, alpha)
    by_cell = flag_cells(features, events)
    # Scores are compared with the remaining false positive rate, as in `predict_ood`.
    limit = alpha - rate + 1e-9
    return Scores(
        proba=proba,
        prediction=model.pipeline.classes_[proba.argmax(axis=1)],
        score=ood_score(model.pipeline, X),
        pvalue=pvalue,
        by_cell=by_cell,
        flags=by_cell | (pvalue <= limit),
        threshold=threshold(model.classifier.ood_scores_, limit),
    )


def _write(
    model: Model, new: NewData, scores: Scores, cells: np.ndarray, output: str
) -> None:
    results = dict(
        zip(
            RESULTS,
            (
                scores.prediction,
                scores.proba.max(axis=1),
                scores.score,
                scores.pvalue,
                scores.flags,
                cells,
            ),
            strict=True,
        )
    )
    names = probability_names(model.pipeline.classes_)
    results |= dict(zip(names, scores.proba.T, strict=True))
    added = pd.concat([new.table.cells, pd.DataFrame(results)], axis=1)
    write_atomically(
        output,
        lambda stream: added.to_csv(
            stream,
            index=False,
            float_format="%.6g",
            sep=new.table.separator,
            decimal="," if _has_decimal_commas(new) else ".",
        ),
    )


def _has_decimal_commas(new: NewData) -> bool:
    """Return whether columns of the model have decimal commas, and none has points."""
    with_commas = new.features.styles.get(DECIMAL_COMMAS, [])
    if not with_commas or new.table.separator == ",":
        return False
    numbers = new.features.values.select_dtypes("float").columns.drop(with_commas)
    cells = new.table.cells[list(numbers)]
    with_points = cells.apply(lambda column: column.str.fullmatch(r"[+-]?\d*\.\d+"))
    return not with_points.to_numpy(bool).any()


def _report_cells(
    model: Model, features: Features, scores: Scores, report: Report
) -> None:
    """Report missing cells, and values that do not occur in training."""
    training = {column.name: column.missing for column in model.columns}
    report_missing(features, report, training)
    for name, unseen in features.unseen.items():
        if unseen.any():
            texts = features.values.loc[unseen, name].unique()
            report.say(
                f"  never seen in training: {name!r} in {unseen.sum():,} row(s), such "
                f"as {listed(texts.tolist(), 3)}"
            )
    if scores.by_cell.any():
        report.say(
            f"  rows flagged for missing cells or values never seen: "
            f"{scores.by_cell.sum():,}"
        )


def _report_too_few(model: Model, alpha: float, report: Report) -> None:
    report.say(
        f"  {model.source} has too few rows to flag rows by score: a false positive "
        f"rate of {100 * alpha:.3g}% requires at least {rows_for_flags(alpha):,} "
        f"unique rows that can be held out, and {model.num_distinct:,} of its "
        f"{model.num_rows:,} rows are unique. Sort by ood_score instead."
    )


def _report_moves(model: Model, features: Features, report: Report) -> None:
    """Report the columns with the largest shifts."""
    moves = moved_columns(features, model.columns)
    if not moves:
        report.say(
            "  Far more rows are flagged than expected, and no single column has a "
            "large shift. The dependence between columns may have changed."
        )
        return
    report.say(
        "  Far more rows are flagged than expected. Columns with the largest shifts "
        "(use --drop COLUMN to train without a column):"
    )
    for move in moves:
        report.say(f"    {move.name!r}: {move.description}")


def report_accuracy(
    truth: np.ndarray, scores: Scores, classes: np.ndarray, report: Report
) -> None:
    """Report accuracy on rows of known classes, and the flags of other rows."""
    names = set(classes)
    known = np.array([label is not None and label in names for label in truth])
    missing = np.array([label is None for label in truth])
    if known.any():
        right = np.mean(truth[known] == scores.prediction[known])
        name, share = commonest(truth[known].astype(str))
        report.say(
            f"  accuracy on the {known.sum():,} rows of a known class: {right:.3f} "
            f"(always predicting '{name}': {share:.3f}), flagged "
            f"{scores.flags[known].mean():.1%}"
        )
    unknown = ~known & ~missing
    if unknown.any():
        report.say(
            f"  rows of a class never trained on: {unknown.sum():,}, flagged "
            f"{scores.flags[unknown].mean():.1%}"
        )


def _show(
    model: Model, new: NewData, scores: Scores, cells: np.ndarray, report: Report
) -> None:
    """Add the distribution of scores and the most unusual rows to the page."""
    from matplotlib.figure import Figure

    ood_scores = model.classifier.ood_scores_
    if len(ood_scores):
        figure = Figure(figsize=(6.5, 4), layout="constrained")
        ax = figure.add_subplot()
        OODHistogramDisplay.from_scores(
            ood_scores, scores.score, ax=ax, names=("training", "new table")
        )
        if scores.able:
            ax.axvline(scores.threshold, color="black", linestyle="dashed")
        report.picture(
            figure,
            "Out-of-distribution scores of held-out training rows and of the new "
            "table. Rows to the right of the dashed line are flagged.",
        )
    order = np.lexsort((-scores.score, ~scores.flags))[:NUM_ROWS_SHOWN]
    shown = new.table.cells.iloc[order].copy()
    results = {
        "row": order + 1,
        "flagged": np.where(scores.flags[order], "yes", "no"),
        "prediction": scores.prediction[order],
        "probability": scores.proba.max(axis=1)[order].round(3),
        "p-value": scores.pvalue[order].round(4),
        "unusual cells": cells[order],
    }
    summary = pd.DataFrame(results, index=shown.index)
    # Column names may be duplicated, because the table may have columns of these names.
    report.table(pd.concat([summary, shown], axis=1), "The most unusual rows")
