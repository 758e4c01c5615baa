"""Docstrings of the classifiers are complete and agree with the signatures."""

import inspect
import math
import re

import pytest
from common import CLASSIFIERS

from sksngp._docstrings import SHARED_ATTRIBUTES, document
from sksngp._shared_parameters import SharedParameters, parameter, with_parameters

each_classifier = pytest.mark.parametrize("Classifier", CLASSIFIERS)


def entries(text):
    """Return the names of the unindented entries of a section, and their types."""
    return dict(re.findall(r"^(\w+) : (.+)$", text, flags=re.MULTILINE))


def section(docstring, title):
    parts = re.split(r"^(\w[\w ]*)\n-+$", docstring, flags=re.MULTILINE)
    return parts[parts.index(title) + 1]


def test_placeholders_are_filled():
    @with_parameters
    class Small:
        """Title.

        {parameters}
        {shared attributes}
        """

        size: int | str = parameter(
            default="all",
            constraints=[int, str],
            kind='int or "all"',
            text="""
            Number of samples.
            All by default.
            """,
        )

    entry = 'size : int or "all", default="all"\n    Number of samples.\n'
    entry += "    All by default."
    assert document(Small) == f"Title.\n\n{entry}\n{SHARED_ATTRIBUTES}"
    Small.__doc__ = "Without placeholders."
    assert document(Small) == "Without placeholders."
    Small.__doc__ = None
    assert document(Small) is None


@each_classifier
def test_each_parameter_is_documented_with_its_default(Classifier):
    documented = entries(section(Classifier.__doc__, "Parameters"))
    signature = inspect.signature(Classifier).parameters
    assert documented.keys() == signature.keys()
    for name, given in signature.items():
        _, _, default = documented[name].partition("default=")
        assert eval(default, {"pi": math.pi}) == given.default, name
    assert SharedParameters._parameters.keys() <= documented.keys()


@each_classifier
def test_each_fitted_attribute_is_documented(Classifier, fitted_on_moons):
    documented = entries(section(Classifier.__doc__, "Attributes"))
    fitted = {name for name in vars(fitted_on_moons(Classifier)) if name.endswith("_")}
    # Attributes that are absent without feature names or images
    optional = {"feature_names_in_", "image_shape_"}
    assert fitted | optional == documented.keys() | optional
    assert entries(SHARED_ATTRIBUTES).keys() <= documented.keys()
