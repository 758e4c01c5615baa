"""A fitted classifier as a TensorFlow graph that needs nothing but TensorFlow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from .._networks.architecture import Architecture
from .._uncertainty.conformal import above_rounding
from .._uncertainty.surprisal import PART_WEIGHTS, Surprisal
from .custom_network import ResidualNetwork, network_of
from .input_graph import log1p, standardised

#: What the served function returns, by name.
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
    """Module with one function, `serve`, of raw rows.

    Parameters
    ----------
    classifier : fitted classifier of this package

    Returns
    -------
    tf.Module
        ``serve(inputs)``, with inputs float64 of shape (n, n_features), or of the shape
        of images, returns a dict of tensors with the names in `OUTPUTS`.
    """
    module = tf.Module()
    graph = _graph_of(classifier)
    labels = _labels(classifier.classes_)
    # What is above rounding of its calibration score counts as higher, as elsewhere.
    calibration = np.sort(above_rounding(classifier.ood_scores_))
    threshold = classifier.ood_threshold_
    num_columns = classifier.n_features_in_
    shape = [None, *(getattr(classifier, "image_shape_", None) or (num_columns,))]

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        # A loaded signature takes rows of any shape.
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
    """How many of some ordered numbers are below each value, as float64.

    This is a binary search, as ONNX has nothing like `tf.searchsorted`.
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
) -> list[ResidualNetwork]:
    """One network, or of several that can't be stacked, each."""
    members = architecture.members
    if architecture.body is None or members == 1:
        network = network_of(architecture)
        network.load(weights)
        return [network]
    networks = [network_of(replace(architecture, members=1)) for _ in range(members)]
    for member, network in enumerate(networks):
        network.load({name: array[member] for name, array in weights.items()})
    return networks


def _graph_of(classifier: Any) -> _Graph:
    if classifier.architecture_.get("num_inducing") is None:
        return _SampledGraph(classifier)
    return _GaussianProcessGraph(classifier)


class _Graph(ABC):
    """Rows to hidden representations; what follows is a subclass's."""

    variables: list[tf.Variable]

    def __init__(self, classifier: Any) -> None:
        self.architecture = Architecture(**classifier.architecture_)
        self.networks = _networks(self.architecture, classifier.weights_)
        self.network, self.variables = self.networks[0], []
        for network in self.networks:
            for name, value in classifier._scalars().items():
                getattr(network, name).assign(value)
            scalars = network.input_scale, network.dropout_rate
            self.variables += [*network.weights.values(), *scalars]
        self.projection = classifier.projection_
        self.log_classes = float(np.log(len(classifier.classes_)))

    @abstractmethod
    def __call__(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities, uncertainties and score, by name."""

    def project(self, inputs: tf.Tensor) -> tf.Tensor:
        rows = standardised(inputs, self.projection, self.architecture.dtype)
        kernel = self.projection.kernel
        if kernel is None:
            return tf.cast(rows, self.architecture.dtype)
        projected = rows @ kernel[0] if len(kernel) == 1 else rows[None] @ kernel
        return tf.cast(projected, self.architecture.dtype)

    def entropy(self, proba: tf.Tensor) -> tf.Tensor:
        """As `uncertainty.normalised_entropy`."""
        terms = -proba * tf.math.log(tf.where(proba > 0, proba, 1.0))
        return tf.clip_by_value(tf.reduce_sum(terms, -1) / self.log_classes, 0.0, 1.0)


class _SampledGraph(_Graph):
    """One network, or samples of masks or members."""

    def __init__(self, classifier: Any) -> None:
        super().__init__(classifier)
        masks = getattr(classifier, "masks_", None)
        dtype = self.architecture.dtype
        if masks is not None and self.architecture.body is None:
            masks = tf.constant(masks, dtype)
        self.masks = masks
        # One network has no epistemic uncertainty; it is scored by its entropy.
        self.single = masks is None and self.architecture.members == 1
        self.score = classifier._ood_score
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
        """Of one network, or of each sample."""
        network = self.network
        if self.architecture.body is None:
            if self.masks is not None:
                projected = projected[None]
            return network.output(network.hidden(projected, self.masks))[0]
        if self.masks is not None:  # seeds
            samples = [network.hidden(projected, tf.constant(s)) for s in self.masks]
            return tf.stack([network.output(hidden)[0] for hidden in samples])
        logits = [net.output(net.hidden(projected))[0] for net in self.networks]
        return logits[0] if len(logits) == 1 else tf.stack(logits)


class _GaussianProcessGraph(_Graph):
    """SNGP's posterior, with the same arrays as the classifier's predictions."""

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
        self.distance = None
        if classifier.input_distance_ is not None:
            self.distance = _DistanceGraph(classifier)
            self.variables += self.distance.variables
        self.noise = None
        if classifier.inference == "monte_carlo" or len(posterior.factor) > 1:
            self.noise = tf.constant(classifier.noise_)

    def __call__(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        projected = self.project(inputs)
        logits, features = self.network.output(self.network.hidden(projected))
        logits = tf.cast(logits, tf.float64)
        variance, prior = self.variances(features)
        scaled = logits / self.temperature
        proba = self.probability(scaled, variance)
        share = tf.reduce_mean(variance / prior, axis=1)
        if self.ridge is None:
            epistemic = share / (1.0 + share)
        else:
            epistemic = tf.clip_by_value(share, 0.0, 1.0)
        entropy = self.entropy_of_logits(logits)
        score = epistemic * tf.sqrt(entropy)
        if self.distance is not None:
            parts = score, self.distance.share(projected), entropy
            score = self.distance.combined(parts)
        return {
            "probabilities": proba,
            "total": self.entropy(proba),
            "aleatoric": self.entropy_of_logits(scaled),
            "epistemic": epistemic,
            "ood_score": score,
        }

    def variances(self, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `SNGPClassifier._posterior_at`."""
        products = features[None] @ self.matrix
        norms = tf.transpose(tf.reduce_sum(tf.square(products), -1))
        norms = tf.cast(norms, tf.float64)
        prior = tf.reduce_sum(tf.square(features), -1, keepdims=True)
        prior = tf.cast(prior, tf.float64)
        if self.low_rank:
            left = tf.maximum(prior - norms, 1e-7 * prior)
            return self.prior * left, self.prior * prior
        return self.scale * norms, self.prior * prior

    def probability(self, logits: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
        if self.noise is None:
            return tf.nn.softmax(logits / tf.sqrt(1.0 + self.factor * variance))
        draws = logits + tf.sqrt(variance) * self.noise[:, None, :]
        return tf.reduce_mean(tf.nn.softmax(draws), axis=0)

    def entropy_of_logits(self, logits: tf.Tensor) -> tf.Tensor:
        """As `uncertainty.entropy_of_logits`."""
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
    """SNGP's distance in input space, and its sum with the other scores."""

    def __init__(self, classifier: Any) -> None:
        distance = classifier.input_distance_
        self.scale = distance.posterior.scale
        arrays = distance.kernel, distance.bias, distance.whitening
        dtype = classifier.architecture_["dtype"]
        self.variables = [
            tf.Variable(array, trainable=False, dtype=dtype) for array in arrays
        ]
        self.surprisals = classifier._surprisals

    def combined(self, parts: Sequence[tf.Tensor]) -> tf.Tensor:
        """As `sksngp._uncertainty.surprisal.combine`."""
        terms = zip(PART_WEIGHTS, self.surprisals, parts, strict=True)
        return tf.add_n(
            [weight * _surprisal(surprisal, part) for weight, surprisal, part in terms]
        )

    def share(self, projected: tf.Tensor) -> tf.Tensor:
        """As `InputDistance`."""
        kernel, bias, whitening = self.variables
        features = tf.cos(projected @ kernel + bias)
        features *= tf.cast(np.sqrt(2.0 / bias.shape[0]), features.dtype)
        left, prior = (
            tf.reduce_sum(tf.cast(tf.square(array), tf.float64), axis=1)
            for array in (features @ whitening, features)
        )
        return tf.clip_by_value(self.scale * left / prior, 0.0, 1.0)


def _surprisal(surprisal: Surprisal, scores: tf.Tensor) -> tf.Tensor:
    """As `Surprisal`."""
    reference = above_rounding(surprisal.scores)
    size = len(reference)
    pvalues = (1.0 + size - _count_below(reference, scores)) / (1.0 + size)
    beyond = tf.maximum(scores - reference[-1], 0.0)
    return beyond / surprisal.excess - tf.math.log(pvalues)
