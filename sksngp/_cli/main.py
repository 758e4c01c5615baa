"""Entry point of the command line.

Without options, the command compares the four classifiers on the two moons of the
tutorial and on handwritten digits. With ``--data``, it trains a classifier on a user's
table, and flags rows of another table that are unlike the training data.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from .compare import run_digits, run_two_moons
from .model import check_can_save, load_model, save_model
from .options import BUILT_IN, check_options, make_parser
from .report import Report
from .score import read_new_data, score
from .tables import InputError, check_writable, write_atomically
from .train import cross_check, describe, fit, read_training_data


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str or None, default=None
        Command-line arguments. If None, those of the process are used.

    Returns
    -------
    int
        Exit status 0. An invalid option or file ends the process with status 2 and a
        one-line message on standard error, and an interrupt with status 130.
    """
    parser = make_parser()
    options = parser.parse_args(argv)
    check_options(parser, options)
    try:
        if options.model is not None:
            run_model(options)
        elif options.data not in (None, *BUILT_IN):
            run_table(options)
        if options.model is None and options.data in (None, "two-moons"):
            run_two_moons(options)
        if options.model is None and options.data in (None, "digits"):
            run_digits(options)
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"\n{parser.prog}: interrupted\n")
    return 0


def run_table(options: argparse.Namespace) -> None:
    """Train and evaluate a classifier on a table, and flag the rows of another."""
    _check_outputs(options)
    data = read_training_data(options)
    new = None
    if options.score is not None:
        classes = np.unique(data.labels)
        new = read_new_data(options.score, data.choice.columns, classes)
    report = Report(f"sksngp: {options.data}")
    describe(data, report)
    cross_check(data, options, report)
    model = None
    if new is not None or options.save is not None:
        model = fit(data, options, report)
    if model is not None and new is not None:
        score(model, new, model.classifier.ood_alpha, options.output, report)
    _write_report(report, options)
    if model is not None and options.save is not None:
        # Saving is the last step, so that no results are lost if it fails.
        save_model(model, options.save)
        print(f"Model saved to {options.save}", flush=True)


def run_model(options: argparse.Namespace) -> None:
    """Flag the rows of a table using a saved model."""
    _check_outputs(options)
    model = load_model(options.model)
    classifier = model.classifier
    new = read_new_data(options.score, model.columns, classifier.classes_)
    report = Report(f"sksngp: {options.score}")
    report.section("Model")
    report.say(
        f"{options.model}: {type(classifier).__name__} trained on {model.num_rows:,} "
        f"rows of {model.source}"
    )
    score(model, new, options.ood_alpha or classifier.ood_alpha, options.output, report)
    _write_report(report, options)


def _check_outputs(options: argparse.Namespace) -> None:
    """Check, before any computation, that all results can be written."""
    if options.save is not None or options.model is not None:
        check_can_save()
    inputs = [options.data, options.score, options.model]
    for path in (options.output, options.save, options.report):
        if path is not None:
            check_writable(path, inputs)
            inputs.append(path)


def _write_report(report: Report, options: argparse.Namespace) -> None:
    if options.report is not None:
        page = report.page().encode()
        write_atomically(options.report, lambda stream: stream.write(page))
        print(f"Report saved to {options.report}", flush=True)
