import numpy as np
import pytest

from sksngp import ResNetClassifier
from sksngp._network_training import MAX_EPOCHS, MAX_STEPS, _log_prior


@pytest.mark.parametrize(
    ("num_samples", "epochs"),
    [(10, MAX_EPOCHS), (128 * MAX_STEPS // 10, 10), (10**9, 1)],
)
def test_number_of_epochs(num_samples, epochs):
    assert len(ResNetClassifier()._learning_rates(num_samples)) == epochs


def test_cosine_schedule_starts_at_the_learning_rate_and_decreases():
    rates = ResNetClassifier(learning_rate=0.5, epochs=4)._learning_rates(10)
    expected = 0.25 * (1 + np.cos(np.pi * np.arange(4) / 4))
    np.testing.assert_allclose(rates, expected)


def test_prior_has_an_additional_sample_per_class():
    prior = _log_prior(np.array([0, 0, 2]), np.array([1.0, 2.0, 1.0]), 3)
    np.testing.assert_allclose(np.exp(prior), np.array([4, 1, 2]) / 7)
