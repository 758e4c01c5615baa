import numpy as np
import pytest

from sksngp import ResNetClassifier


@pytest.mark.parametrize(
    ("num_hidden", "num_features", "width"),
    [
        ("auto", 2, 128),
        ("auto", 128, 128),
        ("auto", 129, 192),
        ("auto", 9999, 512),
        (7, 9999, 7),
    ],
)
def test_width_follows_the_features(num_hidden, num_features, width):
    clf = ResNetClassifier(num_hidden=num_hidden)
    clf.n_features_in_ = num_features
    assert clf._width() == width


def test_architecture_has_the_parameters():
    clf = ResNetClassifier(num_layers=3, optimizer="sgd", dropout_rate=0.0)
    clf.n_features_in_, clf.classes_ = 4, np.arange(5)
    clf.architecture_ = clf._architecture()
    architecture = clf._fitted_architecture
    assert (architecture.num_outputs, architecture.num_layers) == (5, 3)
    assert (architecture.optimizer, architecture.dropout) == ("sgd", False)
