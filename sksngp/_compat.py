"""Compatibility with objects that were saved by earlier versions."""

from __future__ import annotations

from inspect import signature
from typing import Any


class DefaultMissingParametersMixin:
    """Mixin that sets parameters missing from a saved object to their defaults."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        parameters = signature(type(self)).parameters.items()
        defaults = {name: parameter.default for name, parameter in parameters}
        if "weights_" in state:  # fitted attributes that earlier versions lack
            defaults["temperature_"] = 1.0
            defaults["candidates_"] = defaults["image_shape_"] = None
            defaults["num_layers_"] = state["architecture_"]["num_layers"]
        # The next class in the method resolution order is scikit-learn's BaseEstimator.
        super().__setstate__({**defaults, **state})  # type: ignore[misc]
