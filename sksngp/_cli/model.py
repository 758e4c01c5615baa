"""Trained models of the command line, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import persistence
from .._pipelines import find
from .description import Description, DescriptionError, from_text, to_text
from .tables import InputError

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin
    from sklearn.pipeline import Pipeline


@dataclass
class Model(Description):
    """Fitted pipeline and the description of its training table.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted pipeline.
    """

    pipeline: Pipeline

    @property
    def classifier(self) -> ClassifierMixin:
        """Classifier in the last step of the pipeline."""
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
        Model to save.
    path : str
        File to write.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    pipeline = model.pipeline
    # The description is stored in an attribute of the pipeline, so that
    # `sksngp.persistence.load` can load the file as well.
    pipeline.table_ = to_text(model)
    try:
        persistence.save(pipeline, path)
    except (OSError, persistence.ModelFileError) as error:
        raise InputError(f"{path}: {_reason(error)}") from error


def load_model(path: str) -> Model:
    """Read a model file that was written by `save_model`.

    Parameters
    ----------
    path : str
        File to read.

    Returns
    -------
    Model
        Trained model.

    Raises
    ------
    InputError
        If the file cannot be read or was not written by `save_model`.
    """
    try:
        pipeline = persistence.load(path)
    except (OSError, persistence.ModelFileError) as error:
        raise InputError(f"{path}: {_reason(error)}") from error
    text = getattr(pipeline, "table_", None)
    if not isinstance(text, str):
        raise InputError(f"{path}: not a model that --save wrote")
    try:
        description = from_text(text)
        _check_pipeline(pipeline, description)
    except DescriptionError as error:
        raise InputError(
            f"{path}: its description of tables is damaged: {error}"
        ) from error
    return Model(pipeline=pipeline, **vars(description))


def _check_pipeline(pipeline: Any, description: Description) -> None:
    """Raise a DescriptionError if a pipeline and a description do not match."""
    columns = description.columns
    expected = {
        "numeric": [column.name for column in columns if column.kind != "text"],
        "text": [column.name for column in columns if column.kind == "text"],
    }
    try:
        names = list(pipeline.feature_names_in_)
        encoded = {name: used for name, _, used in pipeline["encode"].transformers_}
        find(pipeline["classify"], "ood_pvalue")
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DescriptionError("it belongs to another kind of model") from None
    if names != [column.name for column in columns] or encoded != expected:
        raise DescriptionError("the model was fitted on other columns")


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
