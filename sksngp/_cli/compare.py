"""Comparison of the four classifiers on built-in data, with a figure."""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits

from .. import ResNetClassifier
from ..datasets import InOut, hold_out_classes, two_moons, two_moons_ood
from ..inspection import UncertaintyDisplay
from ..metrics import ood_auroc
from . import classifiers
from .classifiers import CLASSIFIERS, quality
from .tables import check_writable, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Digits that are held out as unseen classes.
UNKNOWN_DIGITS = (8, 9)
#: Parameters of all classifiers. Each trains a network of the depth in the tutorial,
#: because a comparison of candidates would take minutes. The number of ensemble members
#: is that of the deep ensembles paper (Lakshminarayanan et al. 2017, arXiv 1612.01474).
SETTINGS: dict[str, Any] = {"num_layers": 6, "cv": None}
SETTINGS_OF = {"deep-ensemble": {"num_ensemble": 5}}
SETTINGS_TEXT = (
    "Each classifier trains one network of six residual blocks (num_layers=6, cv=None; "
    "the defaults compare candidates), and the deep ensemble trains five."
)
#: Maximum difference between results that are described as equal.
TIE = 0.02
WIDTH = 88


class Result(NamedTuple):
    """Metrics of a classifier on in-distribution and out-of-distribution rows."""

    name: str
    accuracy: float
    nll: float
    ece: float
    auroc: float
    flagged_known: float
    flagged_unknown: float
    seconds: float

    def line(self) -> str:
        """Format the result as a row of the printed table."""
        return (
            f"{self.name:<22}  {self.accuracy:>8.3f}  {self.nll:>6.3f}  "
            f"{self.ece:>6.3f}  {self.auroc:>9.3f}  {self.flagged_known:>13.1%}  "
            f"{self.flagged_unknown:>15.1%}  {self.seconds:>7.1f}"
        )


def compare(
    data: InOut, options: argparse.Namespace, unknown: str
) -> list[ClassifierMixin]:
    """Train the four classifiers, and print a table of results and a summary.

    Parameters
    ----------
    data : InOut
        Training, test and out-of-distribution samples.
    options : Namespace
        Options of the command line.
    unknown : str
        Description of the out-of-distribution samples within a sentence.

    Returns
    -------
    list of classifiers
        Fitted classifiers.
    """
    print(textwrap.fill(SETTINGS_TEXT, WIDTH), flush=True)
    fitted, results = [], []
    for name, cls in CLASSIFIERS.items():
        print(f"Training {cls.__name__} ...", file=sys.stderr)
        start = time.perf_counter()
        params = SETTINGS | SETTINGS_OF.get(name, {})
        classifier = classifiers.make_classifier(name, options, **params)
        classifier.fit(data.X_train, data.y_train)
        results.append(_measure(classifier, data, start))
        fitted.append(classifier)
    print(
        f"{'classifier':<22}  accuracy     NLL     ECE  OOD AUROC  flagged known  "
        "flagged unknown  seconds"
    )
    print("\n".join(result.line() for result in results))
    print(textwrap.fill(verdict(results, unknown), WIDTH), flush=True)
    return fitted


def _measure(classifier: ClassifierMixin, data: InOut, start: float) -> Result:
    proba = classifier.predict_proba(data.X_test)
    known = quality(data.y_test, proba, classifier.classes_)
    return Result(
        name=type(classifier).__name__,
        accuracy=known.accuracy,
        nll=known.nll,
        ece=known.ece,
        auroc=ood_auroc(
            -classifier.score_samples(data.X_test),
            -classifier.score_samples(data.X_ood),
        ),
        flagged_known=float(np.mean(classifier.predict_ood(data.X_test))),
        flagged_unknown=float(np.mean(classifier.predict_ood(data.X_ood))),
        seconds=time.perf_counter() - start,
    )


def verdict(results: Sequence[Result], unknown: str) -> str:
    """Summarize a table of the four classifiers.

    Parameters
    ----------
    results : sequence of Result
        Results of the classifiers. The last one is that of SNGP.
    unknown : str
        Description of the out-of-distribution samples within a sentence.

    Returns
    -------
    str
        Summary in a few sentences.
    """
    *others, sngp = results
    best = max(others, key=lambda result: result.auroc)
    ahead = sngp.auroc - best.auroc
    if ahead > TIE:
        outcome = "SNGP separates unknown from known rows better than the others"
    elif ahead < -TIE:
        outcome = f"{best.name} separates unknown from known rows better than SNGP"
    else:
        outcome = f"SNGP and {best.name} separate unknown from known rows equally well"
    return (
        f"Summary: {_accuracies(results)}. {outcome} (OOD AUROC {sngp.auroc:.3f} and "
        f"{best.auroc:.3f}). Of {unknown}, SNGP flags {sngp.flagged_unknown:.0%} as "
        f"unlike its training data, at a false positive rate of "
        f"{sngp.flagged_known:.1%} on known rows; {best.name} flags "
        f"{best.flagged_unknown:.0%}, at {best.flagged_known:.1%}."
    )


def _accuracies(results: Sequence[Result]) -> str:
    low, high = (
        select(results, key=lambda result: result.accuracy) for select in (min, max)
    )
    if high.accuracy - low.accuracy <= TIE:
        span = dict.fromkeys((f"{low.accuracy:.1%}", f"{high.accuracy:.1%}"))
        return (
            "all four classifiers have about the same accuracy on known rows "
            f"({' to '.join(span)})"
        )
    return (
        f"on known rows, {low.name} has the lowest accuracy ({low.accuracy:.1%}) and "
        f"{high.name} the highest ({high.accuracy:.1%}); the accuracy of SNGP is "
        f"{results[-1].accuracy:.1%}"
    )


def run_two_moons(options: argparse.Namespace) -> None:
    """Compare the classifiers on the two moons of the tutorial, and save a figure."""
    check_writable(options.picture)
    seed = options.random_state
    X, y = two_moons(random_state=seed)
    X_test, y_test = two_moons(random_state=(seed + 1) % 2**32)
    X_ood = two_moons_ood(random_state=seed)
    print(
        f"Two moons: {len(X):,} rows to train on, {len(X_test):,} others to test on "
        f"(known) and {len(X_ood):,} of a blob far from both (unknown)",
        flush=True,
    )
    data = InOut(X_train=X, y_train=y, X_test=X_test, y_test=y_test, X_ood=X_ood)
    fitted = compare(data, options, "the rows of the far blob")
    figure = draw(fitted, X, y, X_ood)
    write_atomically(
        options.picture, lambda stream: figure.savefig(stream, format="png", dpi=120)
    )
    print(f"Figure saved to {options.picture}\n", flush=True)


def draw(
    classifiers: Sequence[ClassifierMixin],
    X: np.ndarray,
    y: np.ndarray,
    X_ood: np.ndarray,
) -> Figure:
    """Plot class probabilities and scores of classifiers over two features.

    Parameters
    ----------
    classifiers : sequence of classifiers
        Fitted classifiers.
    X : ndarray of shape (n, 2)
        Training samples.
    y : ndarray of shape (n,)
        Class labels.
    X_ood : ndarray of shape (m, 2)
        Out-of-distribution samples.

    Returns
    -------
    matplotlib.figure.Figure
        Figure with one column for each classifier. The first row shows probabilities,
        the second row out-of-distribution scores.
    """
    from matplotlib.figure import Figure

    count = len(classifiers)
    figure = Figure(figsize=(3.9 * count, 7.2), layout="constrained")
    axes = figure.subplots(2, count, sharex=True, sharey=True, squeeze=False)
    kinds: list[Literal["probability", "ood"]] = ["probability", "ood"]
    for row, kind in zip(axes, kinds, strict=True):
        _draw_row(row, classifiers, X, y=y, X_ood=X_ood, kind=kind)
    for above, below, classifier in zip(*axes, classifiers, strict=True):
        above.set_title(type(classifier).__name__)
        if isinstance(classifier, ResNetClassifier):
            below.set_title("(entropy: it has no other score)", fontsize=9)
    figure.suptitle(
        "Two moons. Top: predicted probabilities. Bottom: out-of-distribution scores, "
        "with the threshold for flags (dashed)"
    )
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        markerscale=2,
        frameon=False,
    )
    return figure


def _draw_row(
    axes: np.ndarray, classifiers: Sequence[ClassifierMixin], X: np.ndarray, **data: Any
) -> None:
    """Plot one kind of surface for each classifier, with a common color bar.

    Scores have different units and are shown as multiples of the threshold.
    """
    for ax, classifier in zip(axes, classifiers, strict=True):
        display = UncertaintyDisplay.from_estimator(
            classifier,
            X,
            grid_resolution=100,
            ax=ax,
            colorbar=False,
            legend=False,
            scatter_kwargs={"s": 8, "linewidths": 0},
            **data,
        )
    bar = axes[0].figure.colorbar(
        display.surface_, ax=axes, label=display.label, pad=0.01
    )
    ticks = np.linspace(0.0, max(display.surface_.levels), 6)
    unit, label = 1.0, display.label
    if display.threshold and np.isfinite(display.threshold):
        unit, label = display.threshold, f"{label} / threshold"
    bar.set_ticks(ticks.tolist(), labels=[f"{tick / unit:.1f}" for tick in ticks])
    bar.set_label(label or "")


def run_digits(options: argparse.Namespace) -> None:
    """Compare the classifiers on handwritten digits with two unseen classes."""
    X, y = load_digits(return_X_y=True)
    data = hold_out_classes(X, y, UNKNOWN_DIGITS, random_state=options.random_state)
    print(
        f"Digits: {len(data.X_ood):,} rows of classes "
        f"{' and '.join(map(str, UNKNOWN_DIGITS))} (unknown); of the other classes "
        f"(known) {len(data.X_train):,} to train on, {len(data.X_test):,} to test on",
        flush=True,
    )
    digits = " and ".join(f"{digit}s" for digit in UNKNOWN_DIGITS)
    fitted = compare(data, options, f"the {digits}, which are not in the training data")
    notes = (
        "A row is flagged if its out-of-distribution score exceeds the threshold of "
        "the classifier, which is set such that at most "
        f"{100 * fitted[0].ood_alpha:.3g}% of known rows are flagged in expectation. "
        "Seconds: time to train, and to predict and flag all test rows. The first "
        "classifier includes the time to start TensorFlow."
    )
    print(textwrap.fill(notes, WIDTH), flush=True)
