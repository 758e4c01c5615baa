"""Measures of probabilities and OOD scores, and ranks of methods over datasets."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata, studentized_range
from sklearn.metrics import brier_score_loss, log_loss

from benchmarks._tools.detectors import Answer
from sksngp.datasets import InOut
from sksngp.metrics import (
    area_under_risk_coverage,
    expected_calibration_error,
    fpr_at_tpr,
    ood_auroc,
)


def evaluate(answer: Answer, data: InOut, y_test: np.ndarray) -> dict[str, float]:
    """Compute the measures of one answer.

    Parameters
    ----------
    answer : Answer
    data : InOut
        `X_test` and `X_ood` are used.
    y_test : int ndarray of shape (n_samples,)
        Classes of the test samples, from 0.

    Returns
    -------
    dict of str to float
        AUROC and FPR95 of OOD detection. If the answer has probabilities, also
        accuracy, NLL, ECE, Brier score, AURC and the prediction time.
    """
    known, unknown = answer.score(data.X_test), answer.score(data.X_ood)
    found = {"AUROC": ood_auroc(known, unknown), "FPR95": fpr_at_tpr(known, unknown)}
    if answer.proba is None:
        return found
    start = time.perf_counter()
    proba = answer.proba(data.X_test)
    seconds = time.perf_counter() - start
    labels = np.arange(proba.shape[1])
    correct = proba.argmax(axis=1) == y_test
    return found | {
        "accuracy": float(correct.mean()),
        "NLL": log_loss(y_test, proba, labels=labels),
        "ECE": expected_calibration_error(
            y_test, proba, labels=labels, strategy="quantile"
        ),
        "Brier": brier_score_loss(y_test, proba, labels=labels, scale_by_half=False),
        "AURC": area_under_risk_coverage(correct, 1 - proba.max(axis=1)),
        "predict s": seconds,
    }


def mean_ranks(auroc: pd.DataFrame) -> tuple[pd.Series, float]:
    """Average the ranks of each answer over datasets.

    Parameters
    ----------
    auroc : DataFrame
        One row per answer, one column per dataset, without missing values. Higher
        values are better.

    Returns
    -------
    ranks : Series
        Mean ranks in increasing order; 1 is the best.
    critical_difference : float
        Nemenyi's critical difference at a level of 5% (Demsar 2006, Journal of Machine
        Learning Research 7). Smaller differences of mean ranks are not significant.
    """
    ranks = pd.DataFrame(
        {pair: rankdata(-values) for pair, values in auroc.items()}, index=auroc.index
    )
    k, n = ranks.shape
    q = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    return ranks.mean(axis=1).sort_values(), float(q * np.sqrt(k * (k + 1) / (6 * n)))


def draw_ranks(ranks: pd.Series, critical_difference: float, path: str) -> None:
    """Plot mean ranks, with a band of those that do not differ from the best one."""
    figure = Figure(figsize=(8, 1 + 0.3 * len(ranks)), layout="tight")
    axes = figure.subplots()
    places = np.arange(len(ranks))
    best = float(ranks.iloc[0])
    axes.axvspan(best, best + critical_difference, color="tab:blue", alpha=0.15)
    axes.plot(ranks, places, "o", color="tab:blue")
    axes.set_yticks(places, ranks.index)
    axes.invert_yaxis()
    axes.set(
        xlabel="mean rank of the OOD AUROC",
        title=f"shaded: within the critical difference, {critical_difference:.1f}",
    )
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
