"""Export of a fitted classifier as a TensorFlow graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from .._networks.architecture import Architecture
from .._uncertainty.conformal import pvalues
from .._uncertainty.entropy import decompose, entropy_of_logits, normalized_entropy
from .._uncertainty.input_distance import InputDistance, unit_length, variance_ratio
from .._uncertainty.ood_score import combine, surprisals_of_parts
from .._uncertainty.predictive import (
    epistemic_uncertainty,
    low_rank_variance,
    mean_field_logits,
    sampled_logits,
    variance_score,
    whitened_variance,
)
from . import array_namespace as xp
from .network import Network
from .networks import network_type

#: Names of the outputs of the served function.
OUTPUTS = (
    "label",
    "probabilities",
    "total",
    "aleatoric",
    "epistemic",
    "ood_score",
    "ood_pvalue",
    "ood",
)


def served_module(classifier: Any) -> tf.Module:
    """Return a module with a function `serve`.

    Parameters
    ----------
    classifier : fitted classifier of this package

    Returns
    -------
    tf.Module
        ``serve(inputs)``, with float64 inputs of shape (n, n_features) or the shape of
        images, returns a dict of tensors with the names in `OUTPUTS`.
    """
    module = tf.Module()
    graph = _graph_of(classifier)
    labels = _labels(classifier.classes_)
    calibration, threshold = classifier.ood_scores_, classifier.ood_threshold_
    num_columns = classifier.n_features_in_
    shape = [None, *(getattr(classifier, "image_shape_", None) or (num_columns,))]

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        # A loaded signature accepts inputs of any shape.
        rows = tf.reshape(tf.ensure_shape(inputs, shape), [-1, num_columns])
        outputs = graph(rows)
        # Comparisons with NaN are false, so that a sample would not be flagged.
        missing = tf.reduce_any(tf.math.is_nan(rows), axis=1)
        score = tf.where(missing, tf.constant(np.inf, tf.float64), outputs["ood_score"])
        return outputs | {
            "ood_score": score,
            "label": tf.gather(labels, tf.argmax(outputs["probabilities"], axis=1)),
            "ood_pvalue": pvalues(score, calibration, xp),
            "ood": missing | (score > threshold),
        }

    signature = tf.TensorSpec(shape, tf.float64, "inputs")
    module.serve = tf.function(serve, input_signature=[signature])
    module.variables_in_use = graph.variables
    return module


def _labels(classes: np.ndarray) -> tf.Tensor:
    if classes.dtype.kind in "biuf":
        return tf.constant(classes)
    return tf.constant([str(label) for label in classes])


def _networks(
    architecture: Architecture, weights: dict[str, np.ndarray]
) -> list[Network]:
    """Return one network of all members, or a list if they cannot be stacked."""
    members, kind = architecture.members, network_type(architecture)
    if architecture.stacks_members or members == 1:
        network = kind(architecture)
        network.load(weights)
        return [network]
    networks = [kind(replace(architecture, members=1)) for _ in range(members)]
    for member, network in enumerate(networks):
        network.load({name: array[member] for name, array in weights.items()})
    return networks


def _graph_of(classifier: Any) -> _Graph:
    if classifier._fitted_architecture.num_inducing is None:
        return _SampledGraph(classifier)
    return _GaussianProcessGraph(classifier)


class _Graph(ABC):
    """Graph up to the hidden representations; a subclass computes the outputs."""

    variables: list[tf.Variable]

    def __init__(self, classifier: Any) -> None:
        self.architecture = classifier._fitted_architecture
        self.networks = _networks(self.architecture, classifier.weights_)
        self.network, self.variables = self.networks[0], []
        for network in self.networks:
            for name, value in classifier._network_variables().items():
                getattr(network, name).assign(value)
            scalars = network.input_scale, network.dropout_rate
            self.variables += [*network.weights.values(), *scalars]
        self.projection = classifier.projection_

    @abstractmethod
    def __call__(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return probabilities, uncertainties and score, by name."""

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        rows = self.projection.standardized(inputs, self.architecture.dtype, xp)
        kernel = self.projection.kernel
        if kernel is None:
            return tf.cast(rows, self.architecture.dtype)
        projected = rows @ kernel[0] if len(kernel) == 1 else rows[None] @ kernel
        return tf.cast(projected, self.architecture.dtype)


class _SampledGraph(_Graph):
    """Graph of a network, or of its samples by masks or members."""

    def __init__(self, classifier: Any) -> None:
        super().__init__(classifier)
        self.masks = getattr(classifier, "masks_", None)
        # One network has no epistemic uncertainty; its score is the entropy.
        self.single = self.masks is None and self.architecture.members == 1
        self.score = classifier._ood_score_kind
        self.temperature = classifier.temperature_

    def __call__(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = self.logits(self.project(inputs))
        samples = tf.nn.softmax(tf.cast(logits, tf.float64) / self.temperature)
        if samples.shape.rank == 2:
            samples = samples[None]
        proba = tf.reduce_mean(samples, 0)
        if self.single:
            total = normalized_entropy(proba, xp)
            found = {"total": total, "aleatoric": total, "epistemic": total}
        else:
            found = decompose(samples, xp)
        return found | {"probabilities": proba, "ood_score": found[self.score]}

    def logits(self, projected: tf.Tensor) -> tf.Tensor:
        """Return the logits of the network or of each of its samples."""
        if self.masks is not None:
            return self.network.sampled_logits(projected, self.masks)
        logits = [network.logits(projected) for network in self.networks]
        return logits[0] if len(logits) == 1 else tf.stack(logits)


class _GaussianProcessGraph(_Graph):
    """Graph of SNGP's posterior, with the arrays of the classifier."""

    def __init__(self, classifier: Any) -> None:
        super().__init__(classifier)
        dtype = self.architecture.dtype
        posterior, directions = classifier.posterior_, classifier._directions()
        self.low_rank = directions is not None
        matrix = directions[None] if self.low_rank else posterior.whitening
        self.matrix = tf.Variable(matrix, trainable=False, dtype=dtype)
        self.variables.append(self.matrix)
        self.scale, self.ridge = posterior.scale, posterior.ridge
        self.prior = classifier._prior_variance
        self.temperature = classifier.temperature_
        self.factor = classifier.mean_field_factor
        self.surprisals = classifier._surprisals
        self.distances = {
            name: _DistanceGraph(process, self.architecture.dtype)
            for name, process in {
                "input distance": classifier.input_distance_,
                "hidden distance": classifier.hidden_distance_,
            }.items()
            if process is not None
        }
        for distance in self.distances.values():
            self.variables += distance.variables
        self.noise = None
        if classifier.inference == "monte_carlo" or posterior.num_groups > 1:
            self.noise = tf.constant(classifier.noise_)

    def __call__(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        projected = self.project(inputs)
        hidden = self.network.hidden(projected)
        logits, features = self.network.output(hidden)
        logits = tf.cast(logits, tf.float64)
        variance, prior = self.variances(features)
        scaled = logits / self.temperature
        proba = self.probability(scaled, variance)
        ratio = tf.reduce_mean(variance / prior, axis=1)
        epistemic = epistemic_uncertainty(ratio, self.ridge is not None, xp)
        entropy = entropy_of_logits(logits, xp)
        score = variance_score(epistemic, entropy, xp)
        if self.surprisals:
            inputs = {
                "input distance": projected,
                "hidden distance": unit_length(hidden, xp),
            }
            parts = {name: of(inputs[name]) for name, of in self.distances.items()}
            parts |= {"variance": score, "entropy": entropy}
            score = combine(surprisals_of_parts(self.surprisals, parts, xp), xp)
        return {
            "probabilities": proba,
            "total": normalized_entropy(proba, xp),
            "aleatoric": entropy_of_logits(scaled, xp),
            "epistemic": epistemic,
            "ood_score": score,
        }

    def variances(self, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return variances and prior variances, as `SNGPClassifier._posterior_at`."""
        products = features[None] @ self.matrix
        norms = tf.transpose(tf.reduce_sum(tf.square(products), -1))
        norms = tf.cast(norms, tf.float64)
        prior = tf.reduce_sum(tf.square(features), -1, keepdims=True)
        prior = tf.cast(prior, tf.float64)
        if self.low_rank:
            variance = low_rank_variance(norms, prior, self.prior, xp)
        else:
            variance = whitened_variance(norms, self.scale)
        return variance, self.prior * prior

    def probability(self, logits: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
        if self.noise is None:
            scaled = mean_field_logits(logits, variance, self.factor, xp)
            return tf.nn.softmax(scaled)
        noise = self.noise[:, None, :]
        samples = sampled_logits(logits, variance, noise, xp)
        return tf.reduce_mean(tf.nn.softmax(samples), axis=0)


class _DistanceGraph:
    """Graph of `sksngp._uncertainty.input_distance.InputDistance`."""

    def __init__(self, process: InputDistance, dtype: str) -> None:
        self.scale = process.posterior.scale
        arrays = process.kernel, process.bias, process.whitening
        self.variables = [
            tf.Variable(array, trainable=False, dtype=dtype) for array in arrays
        ]

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        kernel, bias, whitening = self.variables
        features = tf.cos(inputs @ kernel + bias)
        features *= tf.cast(np.sqrt(2.0 / bias.shape[0]), features.dtype)
        return variance_ratio(features, whitening, self.scale, xp)
