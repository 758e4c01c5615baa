"""Options of the command line, and the validation of their combinations."""

from __future__ import annotations

import argparse

from .classifiers import CLASSIFIERS
from .score import RESULTS

BUILT_IN = ("two-moons", "digits")
#: Options that require a training table.
_OF_TRAINING = ("target", "classifier", "drop", "keep", "save")
#: Options that require a table to train on or to score.
_OF_TABLES = ("score", "output", "report")


def make_parser() -> argparse.ArgumentParser:
    """Create the parser of the command-line options."""
    parser = argparse.ArgumentParser(
        prog="python -m sksngp",
        description="Classifiers with uncertainty estimates and out-of-distribution "
        "detection. Without options, the four classifiers are compared on the two "
        "moons, with a figure of their uncertainty, and on handwritten digits of which "
        "two are held out from training.",
        epilog="example: python -m sksngp --data train.csv --target species "
        "--score new.csv --output flagged.csv --report flagged.html",
    )
    _add_files(parser)
    _add_columns(parser)
    _add_training(parser)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("files").add_argument
    add(
        "--data",
        metavar="two-moons|digits|PATH.csv",
        help="one of the two built-in comparisons, or a UTF-8 file with a header to "
        "train a classifier on, with columns separated by commas, semicolons, tabs or "
        "'|'; it may contain numbers, decimal commas, dates, text and missing values",
    )
    add(
        "--score",
        metavar="NEW.csv",
        help="rows to classify and flag; the columns may be in any order, and "
        "additional columns are ignored",
    )
    add(
        "--output",
        metavar="FLAGGED.csv",
        help="file to write: NEW.csv with the additional columns "
        f"{', '.join(RESULTS)} and a probability for each class",
    )
    add("--report", metavar="PATH.html", help="write a page with tables and figures")
    add(
        "--save",
        metavar="MODEL.sksngp",
        help="write the trained model (requires skops)",
    )
    add(
        "--model",
        metavar="MODEL.sksngp",
        help="score NEW.csv with a saved model, without training",
    )
    add(
        "--picture",
        metavar="PATH.png",
        help="file of the figure of the two moons (default: sksngp-two-moons.png)",
    )


def _add_columns(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("columns of PATH.csv").add_argument
    add("--target", metavar="COLUMN", help="column of PATH.csv that holds the class")
    add(
        "--drop",
        metavar="COLUMN",
        action="append",
        help="train without this column (may be repeated)",
    )
    add(
        "--keep",
        metavar="COLUMN",
        action="append",
        help="train on this column even if it appears to be an identifier (may be "
        "repeated)",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training and flags").add_argument
    add(
        "--classifier",
        choices=sorted(CLASSIFIERS),
        help="classifier to train on PATH.csv (default: sngp)",
    )
    add(
        "--ood-alpha",
        type=_fraction,
        metavar="FRACTION",
        help="maximum expected fraction of rows like the training data that are "
        "flagged (default: 0.05)",
    )
    add(
        "--epochs",
        type=_positive,
        metavar="N",
        help="number of passes over the training data (default: that of the "
        "classifier)",
    )
    add(
        "--random-state",
        type=_natural,
        metavar="SEED",
        default=0,
        help="seed of all random numbers, for reproducible results (default: 0)",
    )


def _natural(text: str, least: int = 0) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) < 2**32):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number between {least} and {2**32 - 1}"
        )
    return int(text)


def _positive(text: str) -> int:
    return _natural(text, least=1)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number between 0 and 1, such as 0.05"
        )
    return value


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the process with a usage error if options cannot be combined."""
    if options.model is not None:
        _check_options_of_model(parser, options)
    elif options.data is None or options.data in BUILT_IN:
        for name in (*_OF_TRAINING, *_OF_TABLES):
            if getattr(options, name) is not None:
                parser.error(f"--{name} requires --data with a CSV file")
    elif options.target is None:
        parser.error(
            f"--data {options.data} requires --target, the column of the class"
        )
    elif (options.score is None) != (options.output is None):
        parser.error("--score and --output must be used together")
    options.drop, options.keep = options.drop or [], options.keep or []
    if options.target in options.drop:
        parser.error(f"--drop {options.target}: the column is also the --target")
    both = [name for name in options.drop if name in options.keep]
    if both:
        parser.error(f"--drop and --keep both name {both[0]!r}")
    _check_endings(parser, options)


def _check_options_of_model(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> None:
    for name in ("data", *_OF_TRAINING, "epochs"):
        if getattr(options, name) is not None:
            parser.error(f"--{name} is for training and cannot be used with --model")
    if options.score is None or options.output is None:
        parser.error("--model requires --score and --output")


def _check_endings(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> None:
    if options.report is not None and not options.report.lower().endswith(
        (".html", ".htm")
    ):
        parser.error(f"--report {options.report}: the name must end in .html")
    if options.picture is None:
        options.picture = "sksngp-two-moons.png"
    elif options.data not in (None, "two-moons") or options.model is not None:
        parser.error("--picture requires --data two-moons, or no --data and no --model")
    elif not options.picture.lower().endswith(".png"):
        parser.error(f"--picture {options.picture}: the name must end in .png")
