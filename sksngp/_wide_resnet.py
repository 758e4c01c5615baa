"""Wide residual network for images."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, validate_parameter_constraints

from ._compat import DefaultMissingParametersMixin

if TYPE_CHECKING:
    import tensorflow as tf
    import tf_keras


class WideResNet(DefaultMissingParametersMixin, BaseEstimator):
    """Builder of a wide residual network (Zagoruyko and Komodakis 2016).

    The network has three stages of residual blocks with 16, 32 and 64 times `width`
    channels. Each block consists of two 3 x 3 convolutions after batch normalization
    and ReLU. The second and the third stage halve the height and the width of the
    image. The hidden representation contains the mean of each channel of the last
    stage. Pass an instance as `network` to a classifier; searches set its parameters
    as, for example, ``network__depth``.

    `SNGPClassifier` bounds the spectral norm of each convolution, including those of
    the shortcuts, but not batch normalization, like Liu et al. (arXiv 2006.10108). With
    batch normalization, they choose a bound of 6.

    Parameters
    ----------
    depth : int, default=10
        Number of layers; must equal 6 * n + 4, where n is the number of residual blocks
        per stage. The paper uses 28.
    width : int, default=1
        Number of channels of the first stage, divided by 16. The paper uses 10.
    dropout_rate : float in [0, 1), default=0
        Fraction of the units between the two convolutions of a block that are set to
        zero in training, and in the samples of `MCDropoutClassifier`. With
        ``network="wide_resnet"``, the rate is that of `MCDropoutClassifier`.
    l2 : float, default=0
        L2 regularization strength of the convolution kernels. ``benchmarks/cifar.py``
        uses 2e-4 and 3e-4.
    augment : bool, default=False
        Whether to shift training images randomly, by up to an eighth of their height
        and width and at least one pixel with zero padding, and to mirror half of them,
        as is usual for photographs.

    References
    ----------
    .. [1] Zagoruyko, S. and Komodakis, N. (2016). "Wide residual networks", arXiv
       1605.07146.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sksngp import ResNetClassifier, WideResNet
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = ResNetClassifier(network=WideResNet(), image_shape=(8, 8, 1), epochs=1)
    >>> clf.set_params(network__width=2).fit(X[:50], y[:50]).predict(X[:2]).shape
    (2,)
    """

    _parameter_constraints: dict[str, list[Any]] = {
        "depth": [Interval(Integral, 10, None, closed="left")],
        "width": [Interval(Integral, 1, None, closed="left")],
        "dropout_rate": [Interval(Real, 0, 1, closed="left")],
        "l2": [Interval(Real, 0, None, closed="left")],
        "augment": ["boolean"],
    }

    def __init__(
        self,
        depth: int = 10,
        width: int = 1,
        dropout_rate: float = 0.0,
        l2: float = 0.0,
        augment: bool = False,
    ) -> None:
        self.depth = depth
        self.width = width
        self.dropout_rate = dropout_rate
        self.l2 = l2
        self.augment = augment

    def __call__(self, input_shape: tuple[int, ...]) -> tf_keras.Model:
        """Build the network.

        Parameters
        ----------
        input_shape : tuple of int
            Height, width and channels.

        Returns
        -------
        tf_keras.Model
            Maps images to hidden representations of shape (n_samples, 64 * width).

        Raises
        ------
        ValueError
            If `input_shape` is not that of an image or a parameter is invalid.
        """
        validate_parameter_constraints(
            self._parameter_constraints, self.get_params(), type(self).__name__
        )
        if self.depth % 6 != 4:
            raise ValueError(
                f"depth must be 6 n + 4, such as 10, 16 or 28, got {self.depth}."
            )
        if len(input_shape) != 3:
            raise ValueError(
                "WideResNet requires images. X must have the shape (n_samples, height, "
                "width, channels), or image_shape must be (height, width, channels); "
                f"got samples of shape {tuple(input_shape)}."
            )
        import tf_keras

        inputs = tf_keras.Input(tuple(input_shape))
        images = self._convolution(self._augmented(inputs), 16)
        for group in range(3):
            for block in range((self.depth - 4) // 6):
                strides = 2 if group > 0 and block == 0 else 1
                images = self._block(images, 16 * self.width * 2**group, strides)
        features = tf_keras.layers.GlobalAveragePooling2D()(_activated(images))
        return tf_keras.Model(inputs, features)

    def _block(self, images: tf.Tensor, channels: int, strides: int) -> tf.Tensor:
        """Add two convolutions to a shortcut."""
        import tf_keras

        activated = _activated(images)
        update = _activated(self._convolution(activated, channels, strides))
        if self.dropout_rate:
            update = tf_keras.layers.Dropout(self.dropout_rate)(update)
        update = self._convolution(update, channels)
        if images.shape[-1] != channels or strides > 1:
            images = self._convolution(activated, channels, strides, size=1)
        return tf_keras.layers.add([images, update])

    def _augmented(self, images: tf.Tensor) -> tf.Tensor:
        if not self.augment:
            return images
        from ._tensorflow.random_layers import ShiftAndFlip

        margins = [max(1, length // 8) for length in images.shape[1:3]]
        return ShiftAndFlip(margins)(images)

    def _convolution(
        self, images: tf.Tensor, channels: int, strides: int = 1, size: int = 3
    ) -> tf.Tensor:
        import tf_keras

        return tf_keras.layers.Conv2D(
            channels,
            size,
            strides,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            kernel_regularizer=tf_keras.regularizers.l2(self.l2) if self.l2 else None,
        )(images)


def _activated(images: tf.Tensor) -> tf.Tensor:
    import tf_keras

    normalized = tf_keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(images)
    return tf_keras.layers.ReLU()(normalized)
