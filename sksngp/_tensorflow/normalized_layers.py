"""Spectral normalization of the layers of custom networks.

Dense and Conv2D layers are wrapped. The kernels of other layers are normalized in
place: the linear map of a kernel is the call of its layer without bias and activation,
and the transpose of the map is its vector-Jacobian product.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
import tf_keras

from .lanczos import largest_eigenvalue
from .layers import NormalizedDense, SpectralNormalizationConv2D

#: Linear maps of inputs with at most this many values are treated as dense matrices.
LARGEST_DENSE_OPERATOR = 512
#: Norms below this are too small for the direction of a power iteration.
SMALLEST_NORM = 1e-12

#: Layers whose kernel is a convolution, and the name of this kernel.
CONVOLUTIONS = {
    tf_keras.layers.Conv1D: "kernel",
    tf_keras.layers.Conv2D: "kernel",
    tf_keras.layers.Conv3D: "kernel",
    tf_keras.layers.Conv1DTranspose: "kernel",
    tf_keras.layers.Conv2DTranspose: "kernel",
    tf_keras.layers.Conv3DTranspose: "kernel",
    tf_keras.layers.DepthwiseConv1D: "depthwise_kernel",
    tf_keras.layers.DepthwiseConv2D: "depthwise_kernel",
    tf_keras.layers.SeparableConv1D: "depthwise_kernel",
    tf_keras.layers.SeparableConv2D: "depthwise_kernel",
}

Shape: TypeAlias = tuple[int | None, ...]


class PowerIteration:
    """Mixin that bounds the spectral norm of a linear map.

    Attributes
    ----------
    u, v : tf.Variable
        Estimates of the first left and right singular vectors, in the shapes of an
        output and of an input of the map for one sample.
    in_shape : tuple of int
        Shape of an input for one sample, with a first axis of length 1.
    norm_multiplier : tf.Variable
        Bound on the spectral norm.
    tolerance : float
        Relative accuracy of the norms of large maps.
    """

    u: tf.Variable
    v: tf.Variable
    in_shape: tuple[int, ...]
    norm_multiplier: tf.Variable
    tolerance = 1e-3

    @property
    @abstractmethod
    def kernel(self) -> tf.Variable:
        """Kernel that determines the map."""

    @abstractmethod
    def multiply(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Apply the linear map of a kernel to a batch of inputs."""

    @abstractmethod
    def multiply_transposed(self, output: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Apply the transpose of the linear map to an output for one sample."""

    def update_weights(self) -> None:
        """Perform one power iteration, and bound the kernel.

        The iteration is that of Gouk et al. (2021, arXiv 1804.04368).
        """
        image = self.multiply_transposed(self.u, self.kernel)
        self.v.assign(unit(image, otherwise=self.v))
        image = self.multiply(self.v, self.kernel)
        sigma = tf.norm(image)
        self.u.assign(unit(image, otherwise=self.u))
        bounded = tf.minimum(self.norm_multiplier / (sigma + SMALLEST_NORM), 1.0)
        self.kernel.assign(bounded * self.kernel)

    def spectral_norm(self) -> float:
        """Compute the spectral norm of the map.

        The norm is exact for small inputs. For larger inputs, Lanczos iterations find
        the largest eigenvalue of the map followed by its transpose. The result is
        accurate to `tolerance`, or too large if the iterations do not converge.
        """
        kernel = self.kernel.numpy().astype(np.float64)
        largest = float(np.abs(kernel).max())
        if not 0.0 < largest < np.inf:
            return largest
        # Squares of the kernel itself may overflow or vanish.
        scaled = tf.constant(kernel / largest, self.kernel.dtype)
        return largest * self._norm_with(scaled)

    def _norm_with(self, kernel: tf.Tensor) -> float:
        """Compute the spectral norm of the map of a given kernel."""
        size = prod(self.in_shape)
        if size <= LARGEST_DENSE_OPERATOR:
            units = tf.reshape(tf.eye(size), (size, *self.in_shape[1:]))
            matrix = self.multiply(units, kernel).numpy()
            return largest_singular_value(matrix.reshape(size, -1))

        def multiply(vector: np.ndarray) -> np.ndarray:
            image = tf.constant(vector.reshape(self.in_shape), kernel.dtype)
            image = self.multiply_transposed(self.multiply(image, kernel), kernel)
            return np.asarray(image).ravel()

        # After training, the unit vector v is close to the first singular vector.
        noise = np.random.default_rng(0).standard_normal(size) / np.sqrt(size)
        start = self.v.numpy().ravel() + 0.1 * noise.astype(np.float32)
        largest = largest_eigenvalue(multiply, start, tolerance=self.tolerance)
        return float(np.sqrt(largest))


class NormalizedConv2D(PowerIteration, SpectralNormalizationConv2D):
    """Wrapper of a convolution from tf-models-official, built without random values.

    In contrast to its parent, it rounds up when it divides sizes by strides, and
    supports every kind of padding.
    """

    def build(self, input_shape: Any) -> None:
        if None in input_shape[1:]:
            raise ValueError(
                "Spectral normalization requires images of a fixed size, but the layer "
                f"{self.layer.name} has inputs of shape {tuple(input_shape)}. Build "
                "the model for the shape that network is called with, or pass "
                "spec_norm_bound=None."
            )
        if not self.layer.built:
            self.layer.build(input_shape)
        self.in_shape = (1, *map(int, input_shape[1:]))
        output_shape = self.layer.compute_output_shape(input_shape)
        self.out_shape = (1, *map(int, output_shape[1:]))
        for name, shape in (("v", self.in_shape), ("u", self.out_shape)):
            vector = self.add_weight(
                name=name, shape=shape, initializer="zeros", trainable=False
            )
            setattr(self, name, vector)
        self.built = True

    @property
    def kernel(self) -> tf.Variable:
        """Kernel of the wrapped layer."""
        return self.layer.kernel

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # `CustomNetwork.normalize` has updated the kernel, as the parent's call would.
        return self.layer(inputs)

    def multiply(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve images with a kernel."""
        return tf.nn.conv2d(inputs, kernel, **self._geometry())

    def multiply_transposed(self, output: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Apply the transpose of the convolution to one image."""
        return tf.nn.conv2d_transpose(output, kernel, self.in_shape, **self._geometry())

    def _geometry(self) -> dict[str, Any]:
        return {"strides": self.layer.strides, "padding": self.layer.padding.upper()}


class DenseWithoutPowerIteration(NormalizedDense):
    """Variant of `NormalizedDense` without a power iteration in training calls.

    `CustomNetwork.normalize` performs it instead.
    """

    @property
    def kernel(self) -> tf.Variable:
        """Kernel of the wrapped layer."""
        return self.layer.kernel

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return self.layer(inputs)

    def update_weights(self) -> None:
        """Perform one power iteration, and bound the kernel.

        If the kernel is zero, the singular vectors do not change. The parent would set
        them to zero, and could not bound a later kernel.
        """
        before = [tf.identity(vector) for vector in (self.u, self.v)]
        super().update_weights()
        for vector, otherwise in zip((self.u, self.v), before, strict=True):
            vector.assign(unit(vector, otherwise))

    def spectral_norm(self) -> float:
        """Compute the largest singular value of the kernel."""
        return largest_singular_value(self.layer.kernel.numpy())


@dataclass(frozen=True)
class LinearMap:
    """Linear map of a layer's kernel.

    Parameters
    ----------
    layer : tf_keras.layers.Layer
        Layer that has the kernel.
    kernel : tf.Variable
    in_shape : tuple of int
        Shape of an input for one sample, with a first axis of length 1.
    multiply : callable
        Function of a batch of inputs and a kernel that returns outputs.
    """

    layer: tf_keras.layers.Layer
    kernel: tf.Variable
    in_shape: tuple[int, ...]
    multiply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class NormalizedKernel(PowerIteration):
    """Kernel that is normalized in place, without a wrapper of its layer.

    Parameters
    ----------
    linear_map : LinearMap
    norm_multiplier : tf.Variable
        Bound on the spectral norm.
    """

    #: Singular values of depthwise convolutions are often almost equal, and iterations
    #: of lower accuracy may then end before they find the largest one.
    tolerance = 1e-5

    def __init__(self, linear_map: LinearMap, norm_multiplier: tf.Variable) -> None:
        self._map, self.norm_multiplier = linear_map, norm_multiplier
        self.in_shape = linear_map.in_shape
        zeros = tf.zeros(self.in_shape, self.kernel.dtype)
        self.v = tf.Variable(zeros, trainable=False, name="v")
        zeros = tf.zeros_like(self.multiply(zeros, self.kernel))
        self.u = tf.Variable(zeros, trainable=False, name="u")

    @property
    def kernel(self) -> tf.Variable:
        """Kernel of the layer."""
        return self._map.kernel

    def multiply(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Apply the linear map of a kernel to a batch of inputs."""
        return self._map.multiply(inputs, kernel)

    def multiply_transposed(self, output: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Compute the vector-Jacobian product, which does not depend on the inputs."""
        origin = tf.zeros(self.in_shape, output.dtype)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(origin)
            outputs = self.multiply(origin, kernel)
        return tape.gradient(outputs, origin, output_gradients=output)


def is_wrapped(layer: tf_keras.layers.Layer) -> bool:
    """Return whether a layer is trainable and supported by `wrapped`."""
    if not layer.trainable:
        return False
    if type(layer) is tf_keras.layers.Conv2D:
        plain = layer.groups == 1 and max(layer.dilation_rate) == 1
        return plain and layer.data_format == "channels_last"
    return type(layer) is tf_keras.layers.Dense


def wrapped(
    layer: tf_keras.layers.Layer, norm_multiplier: tf.Variable
) -> DenseWithoutPowerIteration | NormalizedConv2D:
    """Wrap a Dense or Conv2D layer in spectral normalization."""
    dense = type(layer) is tf_keras.layers.Dense
    wrapper: type[DenseWithoutPowerIteration | NormalizedConv2D]
    wrapper = DenseWithoutPowerIteration if dense else NormalizedConv2D
    return wrapper(layer, norm_multiplier=norm_multiplier, dtype=layer.dtype_policy)


def linear_maps(layer: tf_keras.layers.Layer) -> list[LinearMap]:
    """Return the linear maps of a layer whose kernels can be normalized in place.

    The list is empty for layers that `wrapped` supports, for recurrent layers, whose
    kernels are parts of nonlinear maps, and for convolutions of inputs of unknown size.
    For attention layers, it consists of the projections.
    """
    if is_wrapped(layer):
        return []
    if type(layer) is tf_keras.layers.TimeDistributed:
        shapes = [(*shape[:1], *shape[2:]) for shape in _input_shapes(layer)]
        return _maps_on(layer.layer, shapes)
    if type(layer) is tf_keras.layers.MultiHeadAttention:
        inner = layer._flatten_layers(include_self=False)
        return [linear_map for part in inner for linear_map in _maps_on(part, [])]
    return _maps_on(layer, _input_shapes(layer))


def has_other_matrices(layer: tf_keras.layers.Layer) -> bool:
    """Return whether a layer has trainable matrices that are not normalized.

    Embeddings do not count, because their rows are looked up rather than multiplied.
    Layers that users have wrapped in a spectral normalization do not count either.
    """
    if is_wrapped(layer) or isinstance(layer, tf_keras.layers.Embedding):
        return False
    if type(layer).__name__.startswith("SpectralNormalization"):
        return False
    normalized = {
        id(variable)  # biases of attention layers are matrices as well
        for linear_map in linear_maps(layer)
        for variable in linear_map.layer.trainable_variables
    }
    return any(
        len(variable.shape) > 1 and id(variable) not in normalized
        for variable in layer.trainable_variables
    )


def _input_shapes(layer: tf_keras.layers.Layer) -> list[Shape]:
    """Return the different shapes of the inputs of a layer in its models."""
    indices = range(len(layer.inbound_nodes))
    shapes = [layer.get_input_shape_at(index) for index in indices]
    return list(dict.fromkeys(shape for shape in shapes if isinstance(shape, tuple)))


def _maps_on(layer: tf_keras.layers.Layer, shapes: Sequence[Shape]) -> list[LinearMap]:
    """Return the linear maps of a layer on inputs of the given shapes."""
    if not layer.trainable:
        return []
    if type(layer) is tf_keras.layers.Dense:
        return [_matrix_map(layer, layer.kernel)]
    if type(layer) is tf_keras.layers.EinsumDense:
        return _einsum_maps(layer)
    name = CONVOLUTIONS.get(type(layer))
    if name is None or any(None in shape[1:] for shape in shapes):
        return []
    maps = []
    for shape in shapes:
        in_shape = (1, *(length for length in shape[1:] if length is not None))
        convolve = partial(_call_with, layer, name)
        maps.append(LinearMap(layer, getattr(layer, name), in_shape, convolve))
    if maps and hasattr(layer, "pointwise_kernel"):
        maps.append(_matrix_map(layer, layer.pointwise_kernel))
    return maps


def _matrix_map(layer: tf_keras.layers.Layer, kernel: tf.Variable) -> LinearMap:
    """Return the map of a kernel whose last two axes are those of a matrix."""
    num_inputs, num_outputs = kernel.shape[-2:]

    def multiply(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.matmul(inputs, tf.reshape(kernel, (num_inputs, num_outputs)))

    return LinearMap(layer, kernel, (1, num_inputs), multiply)


def _einsum_maps(layer: tf_keras.layers.EinsumDense) -> list[LinearMap]:
    """Return the map of an EinsumDense layer.

    The first axis of the inputs is that of the samples. If the kernel lacks an axis of
    the inputs, the outputs must have it; otherwise, the list is empty. The map applies
    the same matrices along this axis, so that its norm does not depend on the length.
    """
    inputs, kernel, outputs = re.split(",|->", layer.equation.replace("...", "."))
    sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
    repeated = [axis in outputs for axis in inputs if axis not in sizes]
    if inputs[0] in sizes or not all(repeated):
        return []
    shape = tuple(sizes.get(axis, 1) for axis in inputs)
    return [LinearMap(layer, layer.kernel, shape, partial(tf.einsum, layer.equation))]


class _LayerView:
    """View of a layer in which some attributes have other values."""

    def __init__(self, layer: tf_keras.layers.Layer, **attributes: Any) -> None:
        vars(self).update(attributes, _layer=layer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


def _call_with(
    layer: tf_keras.layers.Layer, name: str, inputs: tf.Tensor, kernel: tf.Tensor
) -> tf.Tensor:
    """Call a layer with another kernel, and without bias and activation."""
    attributes = {name: kernel, "use_bias": False, "activation": None}
    if hasattr(layer, "pointwise_kernel"):  # another linear map
        *ones, channels, _ = layer.pointwise_kernel.shape
        identity = tf.reshape(tf.eye(channels), (*ones, channels, channels))
        attributes["pointwise_kernel"] = identity
    return type(layer).call(_LayerView(layer, **attributes), inputs)


def unit(vector: tf.Tensor, otherwise: tf.Tensor) -> tf.Tensor:
    """Normalize a vector; return `otherwise` if it is too close to zero.

    Otherwise, the vectors of a kernel that is initially zero would remain zero, and the
    kernel would never be bounded.
    """
    norm = tf.norm(vector)
    unit_vector = vector / tf.maximum(norm, SMALLEST_NORM)
    return tf.where(norm > SMALLEST_NORM, unit_vector, otherwise)


def largest_singular_value(matrix: np.ndarray) -> float:
    """Compute the spectral norm of a matrix in float64."""
    return float(np.linalg.norm(matrix.astype(np.float64), 2))
