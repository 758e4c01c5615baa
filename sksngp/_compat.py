"""Compatibility with objects that were saved by earlier versions."""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import Any


@cache
def _defaults(kind: type) -> dict[str, Any]:
    """Return the default of each parameter of a class."""
    parameters = signature(kind).parameters.items()
    return {name: parameter.default for name, parameter in parameters}


class DefaultMissingParametersMixin:
    """Mixin that sets parameters missing from a saved object to their defaults."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        defaults = dict(_defaults(type(self)))  # type: ignore[arg-type]
        if "weights_" in state:  # fitted attributes that earlier versions lack
            defaults["temperature_"] = 1.0
            defaults["candidates_"] = defaults["image_shape_"] = None
            defaults["num_layers_"] = state["architecture_"]["num_layers"]
        # The next class in the method resolution order is scikit-learn's BaseEstimator.
        super().__setstate__({**defaults, **state})  # type: ignore[misc]
