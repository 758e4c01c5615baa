"""Flags for batches with control of the false discovery rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sksngp import control_false_discoveries, fewest_discoveries
from sksngp._uncertainty.conformal import pvalues


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.sampled_from([0.05, 0.1, 0.5]),
)
def test_flags_are_those_of_the_step_up_procedure(values, rate):
    values = np.array(values)
    ordered = np.sort(values)
    below = ordered <= rate * np.arange(1, len(ordered) + 1) / len(ordered) + 1e-13
    limit = ordered[below].max(initial=-1.0)
    near = np.abs(values * len(values) / rate % 1) < 1e-9  # decided by rounding errors
    if not near.any():
        np.testing.assert_array_equal(
            control_false_discoveries(values, rate), values <= limit
        )


@pytest.mark.slow
@pytest.mark.parametrize("num_ood", [0, 20, 100])
def test_false_discovery_rate_of_conformal_pvalues(num_ood):
    """The FDR is at most the rate times the fraction of in-distribution samples."""
    rng, rate, found, detected = np.random.default_rng(0), 0.2, [], []
    for _ in range(1500):
        scores = np.append(rng.normal(size=200 - num_ood), rng.normal(3, 1, num_ood))
        flags = control_false_discoveries(pvalues(scores, rng.normal(size=500)), rate)
        false = flags[: 200 - num_ood].sum()
        found.append(false / max(flags.sum(), 1))
        detected.append(flags[200 - num_ood :].mean() if num_ood else 1)
    bound = rate * (200 - num_ood) / 200
    assert np.mean(found) <= bound + 3 * np.std(found) / np.sqrt(1500)
    assert np.mean(detected) > 0.5


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("num_scores", [0, 5, 19, 99, 400])
@pytest.mark.parametrize("num_samples", [1, 7, 40, 300])
def test_fewest_discoveries_are_the_fewest(num_samples, num_scores, rate):
    fewest = fewest_discoveries(num_samples, num_scores, rate)
    smallest = 1 / (num_scores + 1)
    for odd in {1, fewest - 1, fewest, num_samples} & set(range(1, num_samples + 1)):
        values = np.ones(num_samples)
        values[:odd] = smallest
        flags = control_false_discoveries(values, rate)
        np.testing.assert_array_equal(flags, (values < 1) & (odd >= fewest))


def test_empty_batch():
    assert control_false_discoveries([]).shape == (0,)


@pytest.mark.parametrize(
    ("values", "options", "match"),
    [
        ([0.1, 1.2], {}, r"pvalues must be in \[0, 1\], got values between 0.1 and"),
        ([-0.1], {}, "pvalues must be in"),
        ([0.1, np.nan], {}, "NaN"),
        ([[0.1, 0.2], [0.1, 0.2]], {}, "1d"),
        ([0.1], {"rate": 0}, "'rate' parameter"),
        ([0.1], {"rate": 1}, "'rate' parameter"),
    ],
)
def test_invalid_input(values, options, match):
    with pytest.raises(ValueError, match=match):
        control_false_discoveries(values, **options)


@pytest.mark.parametrize("sizes", [(0, 5), (5, -1), (1.5, 5)])
def test_invalid_sizes(sizes):
    with pytest.raises(ValueError, match="parameter"):
        fewest_discoveries(*sizes)
