"""Validation of the parameters of public functions."""

import inspect

import pytest
from sklearn.utils._param_validation import InvalidParameterError

from sksngp._function_parameters import checks_parameters


def double(number: int = 1) -> int:
    """Double a number."""
    return 2 * number


checked = checks_parameters({"number": [int]})(double)


def test_valid_values_are_passed_on():
    assert checked() == 2
    assert checked(3) == checked(number=3) == 6


def test_error_names_the_parameter_and_the_value():
    with pytest.raises(InvalidParameterError, match=r"'number' parameter.*Got '3'"):
        checked("3")


def test_name_signature_and_docstring_are_kept():
    assert checked.__name__ == "double"
    assert checked.__doc__ == double.__doc__
    assert inspect.signature(checked) == inspect.signature(double)
