"""Docstrings of the classifiers are complete and agree with the signatures."""

import inspect
import math
import re

import pytest
from common import CLASSIFIERS

from sksngp._docstrings import SHARED_ATTRIBUTES, SHARED_PARAMETERS, document

each_classifier = pytest.mark.parametrize("Classifier", CLASSIFIERS)


def entries(text):
    """Return the names of the unindented entries of a section, and their types."""
    return dict(re.findall(r"^(\w+) : (.+)$", text, flags=re.MULTILINE))


def section(docstring, title):
    parts = re.split(r"^(\w[\w ]*)\n-+$", docstring, flags=re.MULTILINE)
    return parts[parts.index(title) + 1]


def test_placeholders_are_filled():
    filled = document(
        "Title.\n\n    {shared parameters}\n    {shared attributes}\n    "
    )
    assert filled == f"Title.\n\n{SHARED_PARAMETERS}\n{SHARED_ATTRIBUTES}"
    assert document("Without placeholders.") == "Without placeholders."
    assert document(None) is None


@each_classifier
def test_each_parameter_is_documented_with_its_default(Classifier):
    documented = entries(section(Classifier.__doc__, "Parameters"))
    signature = inspect.signature(Classifier).parameters
    assert documented.keys() == signature.keys()
    for name, parameter in signature.items():
        _, _, default = documented[name].partition("default=")
        assert eval(default, {"pi": math.pi}) == parameter.default, name
    assert entries(SHARED_PARAMETERS).keys() <= documented.keys()


@each_classifier
def test_each_fitted_attribute_is_documented(Classifier, fitted_on_moons):
    documented = entries(section(Classifier.__doc__, "Attributes"))
    fitted = {name for name in vars(fitted_on_moons(Classifier)) if name.endswith("_")}
    # Attributes that are absent without feature names or images
    optional = {"feature_names_in_", "image_shape_"}
    assert fitted | optional == documented.keys() | optional
    assert entries(SHARED_ATTRIBUTES).keys() <= documented.keys()
