"""The command line, ``python -m sksngp``.

Without options it compares the four classifiers on the tutorial's two moons and
on handwritten digits; with ``--data`` it trains one of them on a user's table
and flags the rows of another that are unlike it.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from . import _cli_data
from ._cli_compare import (
    CLASSIFIERS,
    make_classifier,
    quality,
    run_digits,
    run_two_moons,
)
from ._cli_data import InputError
from .ood import FEWEST_IN_FOLDS, rows_needed

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

BUILT_IN = ("two-moons", "digits")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        Options; None takes those of the process.

    Returns
    -------
    int
        0. A wrong option or a bad file ends the process with status 2 and a
        message of one line on standard error, an interrupt with status 130.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    check_options(parser, options)
    try:
        if options.data in (None, "two-moons"):
            run_two_moons(options)
        if options.data in (None, "digits"):
            run_digits(options)
        if options.data not in (None, *BUILT_IN):
            run_table(options)
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted\n")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Parser of the command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m sksngp",
        description="Classifiers that know what they don't know. Without options: "
        "compare the four of them on the two-moons data, where the picture shows "
        "what they are certain of, and on handwritten digits with two digits that "
        "they have never seen.",
        epilog="example: python -m sksngp --data train.csv --target species "
        "--score new.csv --output flagged.csv",
    )
    add = parser.add_argument
    add(
        "--data",
        metavar="two-moons|digits|PATH.csv",
        help="one of the two built-in comparisons only, or a comma-separated UTF-8 "
        "file with a header to train one classifier on; numbers, text and missing "
        "values are fine",
    )
    add("--target", metavar="COLUMN", help="column of PATH.csv that holds the class")
    add(
        "--score",
        metavar="NEW.csv",
        help="rows to classify and to flag; the columns may come in another order, "
        "with others among them",
    )
    add(
        "--output",
        metavar="FLAGGED.csv",
        help=f"where NEW.csv goes with columns {', '.join(_cli_data.RESULTS)} added",
    )
    add(
        "--classifier",
        choices=sorted(CLASSIFIERS),
        help="what to train on PATH.csv (default: sngp)",
    )
    add(
        "--picture",
        metavar="PATH.png",
        help="where the picture of the two moons goes (default: sksngp-two-moons.png)",
    )
    add(
        "--epochs",
        type=_positive,
        metavar="N",
        help="passes over the training data (default: that of the classifiers)",
    )
    add(
        "--random-state",
        type=_natural,
        metavar="SEED",
        default=0,
        help="the same seed gives the same result (default: 0)",
    )
    return parser


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**32):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number between 0 and {2**32 - 1}"
        )
    return int(text)


def _positive(text: str) -> int:
    if _natural(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a usage error for options that do not go together."""
    if options.data is None or options.data in BUILT_IN:
        for name in ("target", "score", "output", "classifier"):
            if getattr(options, name) is not None:
                parser.error(f"--{name} needs --data with a CSV file")
    elif options.target is None:
        parser.error(f"--data {options.data} needs --target, the column of the class")
    elif (options.score is None) != (options.output is None):
        parser.error("--score and --output go together")
    if options.picture is None:
        options.picture = "sksngp-two-moons.png"
    elif options.data not in (None, "two-moons"):
        parser.error("--picture is of the two moons; it does not go with this --data")
    elif not options.picture.lower().endswith(".png"):
        parser.error(f"--picture {options.picture}: the name must end in .png")


def run_table(options: argparse.Namespace) -> None:
    """Train on a user's table; check on a part of it; flag the rows of another."""
    train = _cli_data.read_table(options.data)
    labels = _cli_data.read_labels(train, options.target, options.data)
    columns = _cli_data.choose_columns(train, options.target, options.data)
    features = _cli_data.read_features(train, columns, options.data)
    new = new_features = None
    if options.score is not None:
        _cli_data.check_writable(options.output, (options.data, options.score))
        new = _cli_data.read_table(options.score)
        _cli_data.check_results_free(new, options.score)
        new_features = _cli_data.read_features(new, columns, options.score)
    describe(labels, columns, options.data)
    cross_check(features, labels, columns, options)
    if new is not None:
        print(f"Training on all {len(labels):,} rows ...", file=sys.stderr)
        pipeline = _fit(features, labels, columns, options)
        score(pipeline, new, new_features, columns, options)


def describe(labels: np.ndarray, columns: _cli_data.Columns, path: str) -> None:
    """Print what a training table was taken to be."""
    print(
        f"{path}: {len(labels):,} rows, {len(np.unique(labels)):,} classes of "
        f"{columns.target!r}"
    )
    for kind, names in (("numeric", columns.numeric), ("text", columns.text)):
        if names:
            print(f"  {kind} columns ({len(names)}): {_cli_data.listed(names)}")
    for name, reason in columns.left_out.items():
        print(f"  left out: {name!r}, {reason}")
    sys.stdout.flush()


def _fit(
    features: pd.DataFrame,
    labels: np.ndarray,
    columns: _cli_data.Columns,
    options: argparse.Namespace,
) -> Pipeline:
    classifier = make_classifier(options.classifier or "sngp", options)
    pipeline = _cli_data.build_pipeline(columns, classifier)
    with warnings.catch_warnings():
        # Said in plain words where the flags are printed.
        warnings.filterwarnings("ignore", "predict_ood will flag no row", UserWarning)
        return pipeline.fit(features, labels)


def cross_check(
    features: pd.DataFrame,
    labels: np.ndarray,
    columns: _cli_data.Columns,
    options: argparse.Namespace,
) -> None:
    """Train on three quarters of the rows and print what the others say."""
    split = _cli_data.split_rows(labels, options.random_state)
    if split is None:
        print(
            f"Cross-check: left out, as no class has {_cli_data.MIN_ROWS} rows or more",
            flush=True,
        )
        return
    train, held_out = split
    print("Training for the cross-check ...", file=sys.stderr)
    pipeline = _fit(features.iloc[train], labels[train], columns, options)
    able = np.isfinite(pipeline[-1].ood_threshold_)
    X = pipeline[:-1].transform(features.iloc[held_out])
    found = quality(pipeline[-1], X, labels[held_out])
    print(
        f"Cross-check: {type(pipeline[-1]).__name__} trained on {len(train):,} rows, "
        f"on the {len(held_out):,} others: accuracy {found.accuracy:.3f}, "
        f"NLL {found.nll:.3f}, ECE {found.ece:.3f}, "
        f"flagged {f'{found.flagged:.1%}' if able else 'none (too few rows)'}",
        flush=True,
    )


def score(
    pipeline: Pipeline,
    new: pd.DataFrame,
    new_features: pd.DataFrame,
    columns: _cli_data.Columns,
    options: argparse.Namespace,
) -> None:
    """Write a table with predictions and flags added; print how many are flagged."""
    X, classifier = pipeline[:-1].transform(new_features), pipeline[-1]
    proba = classifier.predict_proba(X)
    prediction = classifier.classes_[proba.argmax(axis=1)]
    flags = classifier.predict_ood(X)
    results = (
        prediction,
        proba.max(axis=1),
        -classifier.score_samples(X),
        flags,
    )
    scored = new.assign(**dict(zip(_cli_data.RESULTS, results, strict=True)))
    _cli_data.write_atomically(
        options.output,
        lambda stream: scored.to_csv(stream, index=False, float_format="%.6g"),
    )
    print(
        f"{options.score}: {flags.sum():,} of {len(flags):,} rows flagged as unlike "
        f"the training data ({flags.mean():.1%}); written to {options.output}"
    )
    if np.isinf(classifier.ood_threshold_):
        print(
            f"  {options.data} has too few rows for flags: a false-alarm rate of "
            f"{classifier.ood_alpha:.0%} requires at least "
            f"{max(rows_needed(classifier.ood_alpha), FEWEST_IN_FOLDS)} distinct rows. "
            "Sort by ood_score instead."
        )
    if columns.target in new.columns:
        print_accuracy(new[columns.target], prediction, flags, classifier.classes_)


def print_accuracy(
    column: pd.Series, prediction: np.ndarray, flags: np.ndarray, classes: np.ndarray
) -> None:
    """Print accuracy on rows with a known class, and how many others are flagged."""
    truth = np.asarray(column.str.strip(), dtype=str)
    missing = np.isin(truth, list(_cli_data.MISSING))
    known = np.isin(truth, classes)
    if known.any():
        right = np.mean(truth[known] == prediction[known])
        print(
            f"  accuracy on the {known.sum():,} rows of a known class: {right:.3f}, "
            f"flagged {flags[known].mean():.1%}"
        )
    unknown = ~known & ~missing
    if unknown.any():
        print(
            f"  rows of a class never trained on: {unknown.sum():,}, "
            f"flagged {flags[unknown].mean():.1%}"
        )


if __name__ == "__main__":
    sys.exit(main())
