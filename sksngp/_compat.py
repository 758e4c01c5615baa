"""Saved objects that are older than some of their parameters."""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import Any


@cache
def _defaults(kind: type) -> dict[str, Any]:
    """Parameters of a class, with their defaults."""
    parameters = signature(kind).parameters.items()
    return {name: parameter.default for name, parameter in parameters}


class YoungerParametersMixin:
    """Gives a parameter that a saved object doesn't know its default."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        defaults = dict(_defaults(type(self)))  # type: ignore[arg-type]
        # The mixin stands before scikit-learn's BaseEstimator, which has the method.
        if "weights_" in state:  # fitted before there was a temperature
            defaults["temperature_"] = 1.0
            defaults["candidates_"] = None
            defaults["num_layers_"] = state["architecture_"]["num_layers"]
        super().__setstate__({**defaults, **state})  # type: ignore[misc]
