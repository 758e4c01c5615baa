"""Spectral-normalized neural Gaussian process."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._fitted_arrays import FittedArray
from ._networks.memory_needs import Need, posterior_need
from ._shared_parameters import with_own_constructor
from ._sngp_output import KernelOutput
from ._uncertainty.input_distance import InputDistance

if TYPE_CHECKING:
    from ._networks.custom_function import NetworkFunction
    from ._uncertainty.posterior import Posterior


@with_own_constructor
class SNGPClassifier(KernelOutput):
    """Spectral-normalized neural Gaussian process (SNGP).

    A residual network whose hidden layers have bounded spectral norms, so that distant
    samples have distant hidden representations, and whose output is a Gaussian process
    over random features of the hidden representation [1]_. Its variance grows with the
    distance from the training data. Far from them, class probabilities are less
    confident, and `predict_ood` flags the sample.

    The posterior is the exact Laplace approximation at the trained weights, computed in
    float64 in one pass over the training set. Variances are predicted in `dtype`. In
    float32, its factor is rounded if this changes variances by less than a
    ten-thousandth, and directions that contribute less than a thousandth of a variance
    are omitted if few directions remain.

    All uncertainties are in [0, 1]. The total uncertainty is the entropy of
    `predict_proba` divided by log(n_classes). The aleatoric uncertainty is the class
    entropy: that of the softmax of the mean logits divided by the temperature.
    The epistemic uncertainty is the variance ratio ``v(x) / v_prior(x)``, averaged over
    classes if ``covariance="per_class"``. With ``cov_momentum > 0``, the ratio u is
    unbounded, and the epistemic uncertainty is ``u / (1 + u)``.

    The out-of-distribution score of `predict_ood`, `ood_pvalue` and `score_samples`
    combines four scores that detect different samples:

    - the epistemic uncertainty times the square root of the class entropy at
      temperature 1. It is high if the training data contain little information about a
      sample and several classes are likely, as for an unseen class among known ones;
    - the distance from the training data in input space, whitened by the covariance
      within classes: the variance of a second Gaussian process (`input_distance_`). It
      is high if a single feature has an unusual value for the class;
    - the distance from the training data in hidden space, measured in the same way
      between hidden representations scaled to length one (`hidden_distance_`). It is
      high for unseen classes that are far from the known ones to the network;
    - the class entropy itself, which is high between classes.

    The out-of-distribution score is the sum of the negative log probabilities of values
    at least as high, estimated on held-out samples (Fisher's method). The last score
    has half the weight. Custom networks only have the first score.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    kernel_scale_ : float
        Squared length-scale in use.
    ridge_penalty_ : float
        Prior precision in use.
    posterior_ : Posterior
        Factorized posterior precision of the output weights.
    input_distance_ : InputDistance or None
        Distance from the training data in input space; None for custom networks.
    hidden_distance_ : InputDistance or None
        Distance from the training data in hidden space; None for custom networks.
    noise_ : float64 ndarray of shape (num_samples, n_classes)
        Standard normal random values for ``inference="monte_carlo"``.
    {shared attributes}

    See Also
    --------
    ResNetClassifier : The same network without distance awareness.

    References
    ----------
    .. [1] Liu, J. Z., Lin, Z., Padhy, S., Tran, D., Bedrax-Weiss, T. and
       Lakshminarayanan, B. (2020). "Simple and principled uncertainty
       estimation with deterministic deep learning via distance awareness",
       arXiv 2006.10108; journal version arXiv 2205.00403.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sksngp import SNGPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = SNGPClassifier(epochs=20, num_inducing=256, random_state=0).fit(X, y)
    >>> clf.score(X, y) > 0.9
    True
    >>> clf.predict_ood([[50.0, 30.0, 60.0, 25.0]])
    array([ True])
    """

    _params_fixed_by_fit = (
        "standardize",
        "kernel_scale",
        "num_samples",
        "covariance",
        "ridge_penalty",
        "cov_momentum",
    )

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "weights_" in state:  # fitted by a version with fewer scores
            missing = dict.fromkeys(
                ("input_distance_", "hidden_distance_", "_surprisals")
            )
            state = missing | state
        if isinstance(state.get("_surprisals"), tuple):
            names = "variance", "input distance", "entropy"
            state["_surprisals"] = dict(zip(names, state["_surprisals"], strict=True))
        super().__setstate__(state)
        if "_fixed_params" in vars(self) and "ridge_penalty_" not in vars(self):
            # Fitted by a version that did not compare values.
            self.ridge_penalty_ = self._fixed_params["ridge_penalty"]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.covariance == "per_class" and self.inference == "mean_field":
            raise ValueError(
                "covariance='per_class' requires inference='monte_carlo', got "
                "inference='mean_field'."
            )

    def _architecture(self, fitted: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {
            **super()._architecture(fitted),
            "num_inducing": int(self.num_inducing),
        }

    def _custom_fields(self, function: NetworkFunction) -> dict[str, Any]:
        fields = super()._custom_fields(function)
        assert function.description is not None
        if self.spec_norm_bound is None:
            return {**fields, "normalized": False}
        if not function.description.num_normalized:
            raise ValueError(
                f"network={function.name} must return a functional or sequential model "
                "with trainable layers that can be normalized, such as Dense and "
                "convolutions; layers in a custom `call` method are not found. Return "
                "such a model or pass spec_norm_bound=None."
            )
        self._warn_of_unnormalized(function)
        return fields

    def _warn_of_unnormalized(self, function: NetworkFunction) -> None:
        """Warn about layers without normalization, once per classifier."""
        assert function.description is not None
        names = function.description.unnormalized
        kinds = [name.partition(" ")[2] for name in names]  # Keras numbers the names
        if not names or kinds == getattr(self, "_unnormalized", None):
            return
        self._unnormalized = kinds
        warnings.warn(
            f"spec_norm_bound={self.spec_norm_bound} has no effect on these layers of "
            f"network={function.name}: {', '.join(names)}. Only layers whose kernel is "
            "a matrix, or a convolution of inputs of known size, are normalized; "
            "others may not preserve distances. Pass spec_norm_bound=None to bound no "
            "norm.",
            UserWarning,
            stacklevel=9,  # the caller of fit
        )

    def _memory_needs(
        self, fields: dict[str, Any], num_rows: int, num_columns: int
    ) -> list[Need]:
        groups = 1 if self.covariance == "shared" else len(self.classes_)
        return [
            *super()._memory_needs(fields, num_rows, num_columns),
            posterior_need(int(self.num_inducing), groups),
        ]

    def _fitted_arrays(self) -> dict[str, FittedArray]:
        size, classes = self.architecture_["num_inducing"], len(self.classes_)
        groups = 1 if self._fixed_params["covariance"] == "shared" else classes
        return {
            **super()._fitted_arrays(),
            **_posterior_arrays("posterior_", self.posterior_, groups, size),
            "noise_": FittedArray(self.noise_, (None, classes)),
            "kernel_scale_": FittedArray.of_positive(self.kernel_scale_),
            "ridge_penalty_": FittedArray.of_positive(self.ridge_penalty_),
            "prior variance": FittedArray.of_positive(self._prior_variance),
            **self._distance_arrays(),
        }

    def _distance_arrays(self) -> dict[str, FittedArray]:
        """Return the arrays of the distances and of the scales of the parts."""
        if self.input_distance_ is None:
            if self.hidden_distance_ is not None or self._surprisals:
                raise ValueError("there is no distance in input space")
            return {}
        surprisals = self._surprisals or {}
        if not surprisals.keys() <= set(self._part_names):
            raise ValueError("the out-of-distribution score has unknown parts")
        arrays = self._arrays_of("input_distance_", self.input_distance_)
        if self.hidden_distance_ is not None:
            arrays |= self._arrays_of("hidden_distance_", self.hidden_distance_)
        for name, surprisal in surprisals.items():
            arrays[f"surprisal of {name}: scores"] = FittedArray(
                surprisal.scores, (None,), increasing=True
            )
            arrays[f"surprisal of {name}: excess"] = FittedArray.of_positive(
                surprisal.excess
            )
        return arrays

    def _arrays_of(self, name: str, distance: InputDistance) -> dict[str, FittedArray]:
        """Return the arrays of a distance."""
        width, dtype = self.architecture_["num_hidden"], self.architecture_["dtype"]
        size = distance.bias.shape[0]
        return {
            f"{name}.kernel": FittedArray(distance.kernel, (width, size), dtype),
            f"{name}.bias": FittedArray(distance.bias, (size,), dtype),
            **_posterior_arrays(f"{name}.posterior", distance.posterior, 1, size),
        }


def _posterior_arrays(
    name: str, posterior: Posterior, groups: int, size: int
) -> dict[str, FittedArray]:
    """Return the arrays of a posterior of ``size`` random features."""
    triangle = posterior.triangle
    dtype = "float32" if triangle.dtype == np.float32 else "float64"
    shape = groups, size * (size + 1) // 2
    ridge = 1.0 if posterior.ridge is None else posterior.ridge
    return {
        f"{name}.triangle": FittedArray(triangle, shape, dtype),
        f"diagonal of {name}.triangle": FittedArray(
            posterior.diagonal, (groups, size), dtype, positive=True
        ),
        f"{name}.scale": FittedArray.of_positive(posterior.scale),
        f"{name}.ridge": FittedArray.of_positive(ridge),
    }
