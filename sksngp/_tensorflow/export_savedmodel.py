"""Export of a fitted classifier as a TensorFlow graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from .._networks.architecture import Architecture
from .._uncertainty.conformal import above_rounding
from .._uncertainty.input_distance import InputDistance
from .._uncertainty.ood_score import PART_WEIGHTS
from .._uncertainty.predictive import (
    Operations,
    epistemic_uncertainty,
    low_rank_variance,
    mean_field_logits,
    sampled_logits,
    variance_score,
    whitened_variance,
)
from .._uncertainty.surprisal import Surprisal
from .input_graph import log1p, standardised
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


#: The formulas of predictions are also those of the graph.
TENSORFLOW = Operations(tf.maximum, tf.sqrt, tf.clip_by_value)


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
    # Scores that exceed a calibration score by rounding only are ties.
    calibration = np.sort(above_rounding(classifier.ood_scores_))
    threshold = classifier.ood_threshold_
    num_columns = classifier.n_features_in_
    shape = [None, *(getattr(classifier, "image_shape_", None) or (num_columns,))]

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        # A loaded signature accepts inputs of any shape.
        rows = tf.reshape(tf.ensure_shape(inputs, shape), [-1, num_columns])
        outputs = graph(rows)
        score = outputs["ood_score"]
        at_least = len(calibration) - _count_below(calibration, score)
        return outputs | {
            "label": tf.gather(labels, tf.argmax(outputs["probabilities"], axis=1)),
            "ood_pvalue": (1.0 + at_least) / (1.0 + len(calibration)),
            "ood": score > threshold,
        }

    signature = tf.TensorSpec(shape, tf.float64, "inputs")
    module.serve = tf.function(serve, input_signature=[signature])
    module.variables_in_use = graph.variables
    return module


def _count_below(ordered: np.ndarray, values: tf.Tensor) -> tf.Tensor:
    """Count the ordered numbers below each value, as float64.

    This is a binary search, because ONNX has no counterpart of `tf.searchsorted`.
    """
    bits = len(ordered).bit_length()
    padded = tf.constant(np.pad(ordered, (0, 2**bits), constant_values=np.inf))
    count = tf.zeros_like(values, tf.int32)
    for bit in reversed(range(bits)):
        below = tf.gather(padded, count + (2**bit - 1)) < values
        count += tf.where(below, 2**bit, 0)
    return tf.cast(count, tf.float64)


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
        self.log_classes = float(np.log(len(classifier.classes_)))

    @abstractmethod
    def __call__(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return probabilities, uncertainties and score, by name."""

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        rows = standardised(inputs, self.projection, self.architecture.dtype)
        kernel = self.projection.kernel
        if kernel is None:
            return tf.cast(rows, self.architecture.dtype)
        projected = rows @ kernel[0] if len(kernel) == 1 else rows[None] @ kernel
        return tf.cast(projected, self.architecture.dtype)

    def entropy(self, proba: tf.Tensor) -> tf.Tensor:
        """Compute `sksngp._uncertainty.entropy.normalized_entropy`."""
        # tf2onnx computes some logarithms in float32, where a smaller number is 0.
        positive = proba >= np.finfo(np.float32).tiny
        terms = -proba * tf.math.log(tf.where(positive, proba, 1.0))
        return tf.clip_by_value(tf.reduce_sum(terms, -1) / self.log_classes, 0.0, 1.0)


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
        total = self.entropy(proba)
        if self.single:
            found = {"total": total, "aleatoric": total, "epistemic": total}
        else:
            aleatoric = tf.minimum(tf.reduce_mean(self.entropy(samples), 0), total)
            found = {
                "total": total,
                "aleatoric": aleatoric,
                "epistemic": total - aleatoric,
            }
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
        epistemic = epistemic_uncertainty(ratio, self.ridge is not None, TENSORFLOW)
        entropy = self.entropy_of_logits(logits)
        score = variance_score(epistemic, entropy, TENSORFLOW)
        if self.surprisals:
            inputs = {
                "input distance": projected,
                "hidden distance": _unit_length(hidden),
            }
            parts = {name: of(inputs[name]) for name, of in self.distances.items()}
            score = self.combined({"variance": score, **parts, "entropy": entropy})
        return {
            "probabilities": proba,
            "total": self.entropy(proba),
            "aleatoric": self.entropy_of_logits(scaled),
            "epistemic": epistemic,
            "ood_score": score,
        }

    def combined(self, parts: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Compute `sksngp._uncertainty.ood_score.combine`."""
        return tf.add_n(
            [
                PART_WEIGHTS[name] * _surprisal(surprisal, parts[name])
                for name, surprisal in self.surprisals.items()
            ]
        )

    def variances(self, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return variances and prior variances, as `SNGPClassifier._posterior_at`."""
        products = features[None] @ self.matrix
        norms = tf.transpose(tf.reduce_sum(tf.square(products), -1))
        norms = tf.cast(norms, tf.float64)
        prior = tf.reduce_sum(tf.square(features), -1, keepdims=True)
        prior = tf.cast(prior, tf.float64)
        if self.low_rank:
            variance = low_rank_variance(norms, prior, self.prior, TENSORFLOW)
        else:
            variance = whitened_variance(norms, self.scale)
        return variance, self.prior * prior

    def probability(self, logits: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
        if self.noise is None:
            scaled = mean_field_logits(logits, variance, self.factor, TENSORFLOW)
            return tf.nn.softmax(scaled)
        noise = self.noise[:, None, :]
        samples = sampled_logits(logits, variance, noise, TENSORFLOW)
        return tf.reduce_mean(tf.nn.softmax(samples), axis=0)

    def entropy_of_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """Compute `sksngp._uncertainty.entropy.entropy_of_logits`."""
        shifted = logits - tf.reduce_max(logits, axis=1, keepdims=True)
        best = tf.one_hot(
            tf.argmax(logits, axis=1),
            logits.shape[1],
            dtype=tf.bool,
            on_value=True,
            off_value=False,
        )
        others = tf.where(best, tf.zeros_like(shifted), tf.exp(shifted))
        log_proba = shifted - log1p(tf.reduce_sum(others, 1, keepdims=True))
        entropy = -tf.reduce_sum(tf.exp(log_proba) * log_proba, axis=1)
        return tf.clip_by_value(entropy / self.log_classes, 0.0, 1.0)


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
        left, prior = (
            tf.reduce_sum(tf.cast(tf.square(array), tf.float64), axis=1)
            for array in (features @ whitening, features)
        )
        return tf.clip_by_value(self.scale * left / prior, 0.0, 1.0)


def _unit_length(vectors: tf.Tensor) -> tf.Tensor:
    """Compute `sksngp._sngp_distances.unit_length`."""
    norms = tf.norm(tf.cast(vectors, tf.float64), axis=-1, keepdims=True)
    scaled = tf.cast(vectors, tf.float64) / tf.maximum(norms, np.finfo(float).tiny)
    return tf.cast(scaled, vectors.dtype)


def _surprisal(surprisal: Surprisal, scores: tf.Tensor) -> tf.Tensor:
    """Compute `sksngp._uncertainty.surprisal.Surprisal`."""
    reference = above_rounding(surprisal.scores)
    size = len(reference)
    pvalues = (1.0 + size - _count_below(reference, scores)) / (1.0 + size)
    beyond = tf.maximum(scores - reference[-1], 0.0)
    return beyond / surprisal.excess - tf.math.log(pvalues)
