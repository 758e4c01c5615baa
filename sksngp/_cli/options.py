"""Options of the command line, and which of them go together."""

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
    """Return the parser of the command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m sksngp",
        description="Classifiers that know what they don't know. Without options: "
        "compare the four of them on the two-moons data, where the picture shows "
        "what they are certain of, and on handwritten digits with two digits that "
        "they have never seen.",
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
        help="one of the two built-in comparisons only, or a UTF-8 file with a header "
        "to train one classifier on, separated by commas, semicolons, tabs or '|'; "
        "numbers, decimal commas, dates, text and missing values are fine",
    )
    add(
        "--score",
        metavar="NEW.csv",
        help="rows to classify and to flag; the columns may come in another order, "
        "with others among them",
    )
    add(
        "--output",
        metavar="FLAGGED.csv",
        help=f"where NEW.csv goes with columns {', '.join(RESULTS)} and a probability "
        "for each class added",
    )
    add("--report", metavar="PATH.html", help="write a page with tables and figures")
    add("--save", metavar="MODEL.sksngp", help="write the trained model (needs skops)")
    add(
        "--model",
        metavar="MODEL.sksngp",
        help="score NEW.csv with a saved model, without training",
    )
    add(
        "--picture",
        metavar="PATH.png",
        help="where the picture of the two moons goes (default: sksngp-two-moons.png)",
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
        help="train on this column even if it looks like an identifier (may be "
        "repeated)",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("training and flags").add_argument
    add(
        "--classifier",
        choices=sorted(CLASSIFIERS),
        help="what to train on PATH.csv (default: sngp)",
    )
    add(
        "--ood-alpha",
        type=_fraction,
        metavar="FRACTION",
        help="fraction of the rows like those of training that may be flagged, in "
        "expectation (default: 0.05)",
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
    """End with a usage error for options that do not go together."""
    if options.model is not None:
        _check_options_of_model(parser, options)
    elif options.data is None or options.data in BUILT_IN:
        for name in (*_OF_TRAINING, *_OF_TABLES):
            if getattr(options, name) is not None:
                parser.error(f"--{name} needs --data with a CSV file")
    elif options.target is None:
        parser.error(f"--data {options.data} needs --target, the column of the class")
    elif (options.score is None) != (options.output is None):
        parser.error("--score and --output go together")
    options.drop, options.keep = options.drop or [], options.keep or []
    if options.target in options.drop:
        parser.error(f"--drop {options.target}: this is the --target")
    both = [name for name in options.drop if name in options.keep]
    if both:
        parser.error(f"--drop and --keep both name {both[0]!r}")
    _check_endings(parser, options)


def _check_options_of_model(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> None:
    for name in ("data", *_OF_TRAINING, "epochs"):
        if getattr(options, name) is not None:
            parser.error(f"--{name} is for training; it does not go with --model")
    if options.score is None or options.output is None:
        parser.error("--model needs --score and --output")


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
        parser.error("--picture is of the two moons; it does not go with this --data")
    elif not options.picture.lower().endswith(".png"):
        parser.error(f"--picture {options.picture}: the name must end in .png")
