"""From parameters to the architecture of the network."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from ._networks.architecture import Architecture
from ._networks.custom_function import NetworkFunction
from ._networks.kinds import architecture_of
from ._networks.memory_needs import Need
from ._runtime.device import check_device
from ._shared_parameters import SharedParameters
from ._tensorflow import backend
from ._wide_resnet import WideResNet

if TYPE_CHECKING:
    from ._selection import Samples, Splits

#: Maximum number of samples for which networks of several depths are compared.
MAX_SAMPLES_TO_COMPARE = 2**16
#: Residual blocks of the tutorial's network, used if ``num_layers="auto"`` cannot
#: compare several.
DEFAULT_NUM_LAYERS = 6
#: Width of the tutorial's network. ``num_hidden="auto"`` increases it in steps up to
#: the number of features, but not beyond a maximum.
DEFAULT_NUM_HIDDEN = 128
WIDTH_STEP = 64
MAX_NUM_HIDDEN = 512
#: Fields of an architecture whose names differ from those of the parameters.
_PARAMETER_NAMES = {
    "function": "network",
    "members": "num_ensemble",
    "mixed": "mixed_precision",
    "normalized": "spectral normalization",
}


class NetworkParametersMixin(SharedParameters):
    """Methods that determine the network from parameters."""

    # Attributes of the classifier.
    architecture_: dict[str, Any]
    classes_: np.ndarray
    image_shape_: tuple[int, ...] | None
    n_features_in_: int
    _fixed_params: dict[str, Any]

    #: Parameters, besides those of the architecture, that further training of a fitted
    #: classifier cannot change.
    _params_fixed_by_fit: tuple[str, ...] = ("standardize",)
    #: Numbers of residual blocks that ``num_layers="auto"`` compares.
    _depths: tuple[int, ...] = (2, 6)

    if TYPE_CHECKING:

        def _cv_is_automatic(self) -> bool: ...

    def _check_parameters(self) -> None:
        """Raise an error for combinations of parameters that are not supported."""
        check_device(self.device)
        if self.dtype != "float32" and self.mixed_precision is not None:
            raise ValueError(
                f"mixed_precision={self.mixed_precision!r} requires dtype='float32', "
                f"got {self.dtype!r}."
            )
        if self.dtype != "float32" and self.network != "resnet":
            raise ValueError(
                f"network={self.network!r} requires dtype='float32', got "
                f"{self.dtype!r}."
            )
        if self.early_stopping and not self.validation_fraction:
            raise ValueError(
                "early_stopping=True requires a held-out set: validation_fraction must "
                "be in (0, 1), got 0."
            )
        for name in ("early_stopping", "warm_start"):
            if getattr(self, name) and not (self.cv is None or self._cv_is_automatic()):
                raise ValueError(
                    f"{name}=True requires a held-out set: cv must be None or 'auto', "
                    f"got {reprlib.repr(self.cv)}."
                )

    def _depths_to_compare(self, samples: Samples, splits: Splits) -> tuple[int, ...]:
        """Return the numbers of residual blocks to compare on held-out samples."""
        if self.num_layers != "auto":
            return (int(self.num_layers),)
        few = len(samples.labels) <= MAX_SAMPLES_TO_COMPARE
        if self._is_dense() and few and splits.any():
            return self._depths
        return (DEFAULT_NUM_LAYERS,)

    @property
    def _fitted_architecture(self) -> Architecture:
        """The architecture of the fitted network."""
        return architecture_of(self.architecture_)

    def _architecture(self, fitted: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the fields of the architecture that the parameters determine.

        If the custom network of the architecture `fitted` was built by an equal
        function, it is not built again.
        """
        fields: dict[str, Any] = {
            "num_outputs": len(self.classes_),
            "num_layers": self._depth(),
            "num_hidden": self._width(),
            "members": 1,
            "dropout": self.dropout_rate > 0,
            "optimizer": self.optimizer,
            "dtype": self.dtype,
        }
        if self.mixed_precision is not None:
            fields["mixed"] = self.mixed_precision
        if self._is_dense():
            return fields
        function, known = self._custom_function(), (fitted or {}).get("function")
        if known is not None and function.has_function_of(known):
            function = known
        else:
            function = backend.describe(function, self.mixed_precision)
        return {**fields, **self._custom_fields(function)}

    def _custom_fields(self, function: NetworkFunction) -> dict[str, Any]:
        """Return the fields that differ for a custom network."""
        assert function.description is not None
        return {
            "num_layers": 0,
            "num_hidden": function.description.num_features,
            "dropout": False,
            "function": function,
        }

    def _is_dense(self) -> bool:
        """Return whether `network` is the tutorial's dense network."""
        return isinstance(self.network, str) and self.network == "resnet"

    def _depth(self) -> int:
        """Return the parameter `num_layers`, or the number chosen by the fit."""
        if self.num_layers != "auto":
            return int(self.num_layers)
        return getattr(self, "num_layers_", DEFAULT_NUM_LAYERS)

    def _width(self) -> int:
        """Return the parameter `num_hidden`, or a width that suits the features."""
        if self.num_hidden != "auto":
            return int(self.num_hidden)
        steps = -(-self.n_features_in_ // WIDTH_STEP)
        return min(max(DEFAULT_NUM_HIDDEN, steps * WIDTH_STEP), MAX_NUM_HIDDEN)

    def _custom_function(self) -> NetworkFunction:
        """Return the function that builds the custom network."""
        network: Any = self.network
        if isinstance(network, str):
            network = self._wide_resnet()
        if isinstance(network, BaseEstimator):
            network = clone(network)  # set_params must not change a fitted network
        shape = getattr(self, "image_shape_", None) or (self.n_features_in_,)
        return NetworkFunction(network, shape)

    def _wide_resnet(self) -> WideResNet:
        return WideResNet()

    def _network_variables(self) -> dict[str, float]:
        """Return the variables of the network that are parameters, not weights."""
        return {"dropout_rate": self.dropout_rate}

    def _memory_needs(
        self, fields: dict[str, Any], num_rows: int, num_columns: int
    ) -> list[Need]:
        """Return the memory requirements of a fit."""
        return architecture_of(fields).memory_needs(
            num_rows=num_rows, num_columns=num_columns, batch_size=self.batch_size
        )

    def _row_width(self) -> int:
        """Return the number of floats that the prediction of a sample requires."""
        return self._fitted_architecture.row_floats

    def _check_architecture(self, fields: dict[str, Any]) -> None:
        """Raise an error if fixed parameters differ from those of the first fit."""

        def named(fields: dict[str, Any], fixed: dict[str, Any]) -> dict[str, Any]:
            settings = vars(architecture_of(fields)).items()
            names = {
                _PARAMETER_NAMES.get(name, name): value for name, value in settings
            }
            return {**names, **fixed}

        fitted = named(self.architecture_, self._fixed_params)
        fitted["image_shape"] = self.image_shape_
        now = named(fields, {name: getattr(self, name) for name in self._fixed_params})
        now["image_shape"] = self.image_shape_
        if architecture_of(fields).takes_images and self.image_shape is not None:
            now["image_shape"] = tuple(self.image_shape)
        changes = [
            f"{name}={now.get(name)!r} instead of {fitted.get(name)!r}"
            for name in {**now, **fitted}
            if now.get(name) != fitted.get(name)
        ]
        if changes:
            raise ValueError(
                "Training cannot be continued with different parameters: "
                f"{', '.join(changes)}. Call fit with warm_start=False to train from "
                "scratch."
            )
