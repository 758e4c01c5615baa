"""Compatibility with objects that were saved by earlier versions."""

from __future__ import annotations

from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from ._data.holdout import HoldOut

#: Attributes, and fields of `architecture_`, with other names in earlier versions.
_ATTRIBUTES = {
    "_ood_rows": "_ood_score_hashes",
    "_settled_as": "_fixed_params",
    "_unnormalised": "_unnormalized",
}
_FIELDS = {"body": "function", "normalised": "normalized"}


@cache
def _defaults(kind: type) -> dict[str, Any]:
    """Return the default of each parameter of a class."""
    parameters = signature(kind).parameters.items()
    return {name: parameter.default for name, parameter in parameters}


def _renamed(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def _with_hold_out(state: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a classifier that was fitted without a `HoldOut`."""
    state = _renamed(state, _ATTRIBUTES)
    state["architecture_"] = _renamed(state["architecture_"], _FIELDS)
    hashes = {
        "held_out": state.pop("_held_out_of_stream", None),
        "trained": state.pop("_cross_fitted", None),
    }
    state["_hold_out"] = HoldOut(
        state.pop("_split"),
        np.asarray(state.pop("_cutoffs"), np.uint64),
        **{name: known for name, known in hashes.items() if known is not None},
    )
    return state


class DefaultMissingParametersMixin:
    """Mixin that restores objects that were saved by earlier versions.

    Missing parameters are set to their defaults, and renamed attributes are renamed.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        defaults = dict(_defaults(type(self)))  # type: ignore[arg-type]
        if "_split" in state:
            state = _with_hold_out(state)
        if "weights_" in state:  # fitted attributes that earlier versions lack
            defaults["temperature_"] = 1.0
            defaults["candidates_"] = defaults["image_shape_"] = None
            defaults["num_layers_"] = state["architecture_"]["num_layers"]
        # The next class in the method resolution order is scikit-learn's BaseEstimator.
        super().__setstate__({**defaults, **state})  # type: ignore[misc]
