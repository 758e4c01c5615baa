import numpy as np

from sksngp import SNGPClassifier
from sksngp._uncertainty.entropy import entropy_of_logits


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
