"""Validation of the parameters of public functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.utils._param_validation import validate_params

Function = TypeVar("Function", bound=Callable[..., Any])


def checks_parameters(
    constraints: dict[str, list[Any]],
) -> Callable[[Function], Function]:
    """Decorate a function to validate its parameters first.

    In contrast to the decorator of scikit-learn, the type of the function is preserved.
    """
    return validate_params(constraints, prefer_skip_nested_validation=True)
