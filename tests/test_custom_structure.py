import tf_keras

from sksngp._tensorflow.custom_structure import (
    has_softmax,
    layer_shapes,
    layers_are_known,
    leaves,
    structure_of,
)


def nested(units=3, activation=None):
    inner = tf_keras.Sequential([tf_keras.layers.Dense(units, input_shape=(4,))])
    outer = [inner, tf_keras.layers.Dense(2, activation=activation)]
    return tf_keras.Sequential(outer)


class Subclassed(tf_keras.Model):
    def call(self, inputs):
        return inputs


def test_layers_of_nested_models():
    model = nested()
    model.build((None, 4))
    assert [layer.units for layer in leaves(model)] == [3, 2]
    assert len(list(leaves(model, with_models=True))) == 3
    assert [shape for shape in layer_shapes(model)] == [[3], [2]]
    assert not list(leaves(Subclassed()))
    assert not layers_are_known(Subclassed())


def test_structure_depends_on_settings_but_not_on_names():
    models = [nested(), nested(), nested(units=5)]
    for model in models:
        model.build((None, 4))
    first, again, other = map(structure_of, models)
    assert first == again != other


def test_softmax_is_found():
    assert has_softmax(nested(activation="softmax"))
    assert not has_softmax(nested())
