import numpy as np
import tensorflow as tf

from sksngp._tensorflow.compiled_function import CompiledFunction


def test_function_is_traced_once_for_all_sizes():
    traces = []

    def square(values):
        traces.append(values)
        return values**2

    function = CompiledFunction(square, [tf.TensorSpec([None], tf.float64)], None)
    for size in (3, 5):
        values = np.arange(size)
        np.testing.assert_array_equal(function(values).numpy(), values**2)
    assert len(traces) == 1
    function.release()
    assert function._concrete is None
