import numpy as np

from sksngp import SNGPClassifier
from sksngp._uncertainty.entropy import entropy_of_logits
from sksngp.metrics import ood_auroc


def test_first_part_combines_variance_ratio_and_entropy(small, moons):
    X, y = moons
    clf = small(SNGPClassifier, random_state=0).fit(X, y)
    clf._prepare()
    projected = clf.projection_(X[:64], "float32")
    with clf._inference() as compiled:
        logits, variance, prior, _ = clf._posterior_at(compiled, projected)
        parts = clf._evaluate(compiled, projected, "ood parts")
    entropy = entropy_of_logits(logits)
    ratio = (variance / prior)[:, 0]
    np.testing.assert_allclose(parts[:, 0], ratio * np.sqrt(entropy), rtol=1e-6)
    np.testing.assert_allclose(parts[:, 3], entropy, rtol=1e-6)


NETWORK = {"num_layers": 6, "num_hidden": 128}


def test_samples_between_the_classes_are_unusual(small):
    """They are closer to the training samples than samples of the known classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=900)
    X = rng.normal(size=(900, 30))
    X[np.arange(900), y] += 2.0
    between = rng.normal(scale=0.5, size=(300, 30))
    clf = small(SNGPClassifier, epochs=10, num_inducing=256, random_state=0, **NETWORK)
    clf.fit(X[:600], y[:600])
    known, unknown = (
        clf._predict_valid(rows, "ood parts") for rows in (X[600:], between)
    )
    assert ood_auroc(known[:, 1], unknown[:, 1]) < 0.1
    scores = -clf.score_samples(X[600:]), -clf.score_samples(between)
    assert ood_auroc(*scores) > 0.7
