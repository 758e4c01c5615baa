import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, ShuffleSplit

from sksngp import ResNetClassifier, WideResNet


def num_weights(depth, width, channels):
    """Count weights: 3 x 3 kernels, 1 x 1 shortcuts, 4 per normalized channel."""
    total, entering = 9 * channels * 16, 16
    for group in range(3):
        leaving = 16 * width * 2**group
        for block in range((depth - 4) // 6):
            total += 4 * entering + 9 * entering * leaving
            total += 4 * leaving + 9 * leaving * leaving
            if entering != leaving or (group > 0 and block == 0):
                total += entering * leaving
            entering = leaving
    return total + 4 * entering


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (10, 2), (16, 1)])
def test_network_equals_that_of_the_paper(depth, width):
    model = WideResNet(depth, width)((9, 8, 3))
    assert model.output_shape == (None, 64 * width)
    assert sum(np.prod(v.shape) for v in model.variables) == num_weights(
        depth, width, 3
    )
    sizes = {layer.output_shape[1:3] for layer in model.layers if "conv" in layer.name}
    assert sizes == {(9, 8), (5, 4), (3, 2)}


def test_size_equals_that_of_the_paper():
    """Table 4 of the paper reports 36.5 million weights for ten outputs."""
    weights = num_weights(28, 10, 3) + 641 * 10
    assert round(weights / 1e6, 1) == 36.5


def test_dropout_is_between_the_convolutions_of_each_block():
    layers = [
        layer.name for layer in WideResNet(16, dropout_rate=0.1)((8, 8, 1)).layers
    ]
    assert sum("dropout" in name for name in layers) == 6
    assert not any("dropout" in layer.name for layer in WideResNet()((8, 8, 1)).layers)


@pytest.mark.parametrize(
    ("params", "shape", "message"),
    [
        ({"depth": 12}, (8, 8, 1), r"depth must be 6 n \+ 4.* got 12"),
        ({"depth": 4}, (8, 8, 1), "'depth' parameter"),
        ({"width": 0}, (8, 8, 1), "'width' parameter"),
        ({"dropout_rate": 1.0}, (8, 8, 1), "'dropout_rate' parameter"),
        ({"l2": -1e-4}, (8, 8, 1), "'l2' parameter"),
        ({"augment": "flip"}, (8, 8, 1), "'augment' parameter"),
        ({}, (64,), r"requires images.*got samples of shape \(64,\)"),
    ],
)
def test_invalid_parameters(params, shape, message):
    with pytest.raises(ValueError, match=message):
        WideResNet(**params)(shape)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:100], y[:100]


def fit(X, y, **params):
    clf = ResNetClassifier(image_shape=(8, 8, 1), epochs=2, cv=None, random_state=0)
    return clf.set_params(network=WideResNet(**params)).fit(X, y)


@pytest.fixture(scope="module")
def plain(digits):
    return fit(*digits)


@pytest.mark.slow
def test_augmentation_is_reproducible_and_only_in_training(digits, plain):
    X, _ = digits
    moved, again = (fit(*digits, augment=True) for _ in range(2))
    assert moved.loss_curve_ == again.loss_curve_ != plain.loss_curve_
    proba = moved.predict_proba(X)
    np.testing.assert_array_equal(proba, again.predict_proba(X))
    np.testing.assert_array_equal(proba, moved.predict_proba(X))
    one = np.concatenate([moved.predict_proba(X[[row]]) for row in range(5)])
    np.testing.assert_array_equal(one, proba[:5])


def test_small_images_are_shifted_by_one_pixel():
    layers = WideResNet(augment=True)((64, 4, 1)).layers
    assert [layer.margins for layer in layers if hasattr(layer, "margins")] == [(8, 1)]


@pytest.mark.slow
def test_weight_decay_shrinks_the_convolutions(digits, plain):
    decayed = fit(*digits, l2=0.1)
    norms = [
        sum(np.sum(w**2) for w in clf.weights_.values() if w.ndim == 4)
        for clf in (plain, decayed)
    ]
    assert norms[1] < norms[0] - 10
    penalty = decayed.loss_curve_[1] - plain.loss_curve_[1]
    assert penalty == pytest.approx(0.1 * norms[1], rel=0.1)
    network = WideResNet(l2=0.1)((8, 8, 1))
    kernels = [w for w in network.trainable_variables if w.shape.rank == 4]
    expected = sum(0.1 * np.sum(np.square(kernel)) for kernel in kernels)
    assert float(sum(network.losses)) == pytest.approx(expected, rel=1e-5)


def test_networks_of_earlier_versions_get_default_parameters():
    old = WideResNet.__new__(WideResNet)
    old.__setstate__({"depth": 16, "width": 2, "dropout_rate": 0.1})
    assert old.get_params() == WideResNet(16, 2, 0.1).get_params()


@pytest.mark.slow
def test_search_over_the_width(digits):
    """Use a single width that differs from that of the classifier, to save time."""
    clf = ResNetClassifier(network=WideResNet(width=2), image_shape=(8, 8, 1), cv=None)
    once = ShuffleSplit(1, random_state=0)
    search = GridSearchCV(clf.set_params(epochs=1), {"network__width": [1]}, cv=once)
    assert search.fit(*digits).best_estimator_.architecture_["num_hidden"] == 64
