"""Objects that were saved by earlier versions."""

from __future__ import annotations

from inspect import signature
from typing import Any


class DefaultMissingParametersMixin:
    """Mixin that fills in parameters that are missing from a saved state."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        parameters = signature(type(self)).parameters.items()
        defaults = {name: parameter.default for name, parameter in parameters}
        if "weights_" in state:  # fitted by a version without temperature
            defaults["temperature_"] = 1.0
            defaults["candidates_"] = None
            defaults["num_layers_"] = state["architecture_"]["num_layers"]
        # The next class is scikit-learn's BaseEstimator, which has the method.
        super().__setstate__({**defaults, **state})  # type: ignore[misc]
