"""A trained model of the command line, and its file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from .. import persistence
from .columns import Column
from .spelling import Spellings
from .tables import InputError

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin
    from sklearn.pipeline import Pipeline

#: Raised with each change of `Model` that older versions cannot read.
FORMAT = 1


@dataclass
class Model:
    """A fitted pipeline, and how tables are read for it.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted.
    columns : list of Column
        The columns that it uses.
    target : str
        Column of the class.
    labels : Spellings
        Spellings of the classes.
    source : str
        Name of the training table.
    num_rows, num_distinct : int
        Number of rows of the training table, and of different ones among them.
    """

    pipeline: Pipeline
    columns: list[Column]
    target: str
    labels: Spellings
    source: str
    num_rows: int
    num_distinct: int

    @property
    def classifier(self) -> ClassifierMixin:
        """The classifier at the end of the pipeline."""
        return self.pipeline[-1]


def check_can_save() -> None:
    """Raise an InputError if models cannot be saved or loaded."""
    try:
        import skops.io  # noqa: F401
    except ImportError:
        raise InputError(
            "--save and --model require skops: python -m pip install skops"
        ) from None


def save_model(model: Model, path: str) -> None:
    """Write a model file, which `sksngp.persistence.load` reads as a pipeline.

    Parameters
    ----------
    model : Model
    path : str

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    pipeline = model.pipeline
    # An attribute of the pipeline, so that the file remains a model like others. As
    # text, a number takes a few bytes rather than an object of the file.
    pipeline.table_ = json.dumps(
        {
            "format": FORMAT,
            "columns": [asdict(column) for column in model.columns],
            "target": model.target,
            "labels": model.labels.values,
            "source": os.path.basename(model.source),
            "num_rows": model.num_rows,
            "num_distinct": model.num_distinct,
        }
    )
    try:
        persistence.save(pipeline, path)
    except (OSError, persistence.ModelFileError) as error:
        raise InputError(f"{path}: {_reason(error)}") from error


def load_model(path: str) -> Model:
    """Read a model file that `save_model` wrote.

    Parameters
    ----------
    path : str

    Returns
    -------
    Model

    Raises
    ------
    InputError
        If the file cannot be read, or is not such a file.
    """
    try:
        pipeline = persistence.load(path)
    except (OSError, persistence.ModelFileError) as error:
        raise InputError(f"{path}: {_reason(error)}") from error
    text = getattr(pipeline, "table_", None)
    if not isinstance(text, str):
        raise InputError(f"{path}: not a model that --save wrote")
    try:
        table = json.loads(text)
        if table["format"] != FORMAT:
            raise InputError(f"{path}: written by another version of sksngp")
        return Model(
            pipeline=pipeline,
            columns=[Column(**column) for column in table["columns"]],
            target=table["target"],
            labels=Spellings(table["labels"]),
            source=table["source"],
            num_rows=table["num_rows"],
            num_distinct=table["num_distinct"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its description of tables is damaged") from error


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
