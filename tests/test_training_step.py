import numpy as np
import tensorflow as tf

from sksngp._tensorflow.training_step import _unscaled


def test_gradients_are_divided_by_the_scale():
    scale = tf.Variable(8.0)
    (gradient,) = _unscaled([tf.constant([16.0, -4.0])], scale)
    np.testing.assert_array_equal(gradient, [2.0, -0.5])
    assert scale.numpy() == 8.0


def test_overflow_halves_the_scale_and_skips_the_step():
    scale = tf.Variable(8.0)
    gradients = _unscaled([tf.constant([np.inf]), tf.constant([1.0, 2.0])], scale)
    assert not np.concatenate(gradients).any()
    assert scale.numpy() == 4.0
