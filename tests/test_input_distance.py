"""The second Gaussian process, in input space."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sksngp._data.rows import Rows
from sksngp._uncertainty import input_distance
from sksngp._uncertainty.input_distance import RIDGE, fit_input_distance, unit_length

RNG = np.random.default_rng(0)
LABELS = (np.arange(60) % 3).astype(np.int32)
# Classes that differ along all axes; the second axis has the largest spread.
INPUTS = RNG.normal(size=(60, 4)) * [1.0, 10.0, 0.1, 1.0] + LABELS[:, None]


def rows_of(inputs, labels, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    return Rows(inputs, labels, np.asarray(weights, float))


fit = partial(fit_input_distance, num_classes=3, num_features=512)


@pytest.fixture(scope="module")
def process():
    return fit(rows_of(INPUTS, LABELS), seed=0)


def test_variance_ratio(process):
    phi, new = process.features(INPUTS), process.features(INPUTS + 0.3)
    precision = RIDGE * np.eye(phi.shape[1]) + phi.T @ phi
    left = np.einsum("nm,nm->n", new, np.linalg.solve(precision, new.T).T)
    expected = RIDGE * left / (new**2).sum(axis=1)
    assert_allclose(process(INPUTS + 0.3), expected, rtol=1e-9)


def test_exact_gaussian_process():
    process = fit(rows_of(INPUTS, LABELS), seed=0, num_features=2000)
    residuals = INPUTS - [INPUTS[LABELS == label].mean(axis=0) for label in LABELS]
    within = residuals.T @ residuals / len(INPUTS)
    mean_variance = INPUTS.var(axis=0).mean()
    metric = np.linalg.inv(
        within + input_distance.SHRINKAGE * mean_variance * np.eye(4)
    )
    total = np.cov(INPUTS.T, bias=True)
    scale = input_distance.LENGTH_SCALE * 2 * np.trace(metric @ total)

    def kernel(first, second):
        difference = first[:, None] - second[None]
        squared = np.einsum("nmi,ij,nmj->nm", difference, metric, difference)
        return np.exp(-squared / (2 * scale))

    new = INPUTS[:20] + RNG.normal(size=(20, 4)) * [1, 10, 0.1, 1]
    gram = kernel(INPUTS, INPUTS) + RIDGE * np.eye(60)
    cross = kernel(INPUTS, new)
    exact = 1 - np.einsum("mn,mn->n", cross, np.linalg.solve(gram, cross))
    assert_allclose(process(new), exact, atol=0.05)


def test_a_weight_is_a_repetition():
    repeats = 1 + np.arange(60) % 4
    weighted = fit(rows_of(INPUTS, LABELS, repeats), seed=1)
    repeated = fit(
        rows_of(INPUTS.repeat(repeats, axis=0), LABELS.repeat(repeats)), seed=1
    )
    assert_allclose(weighted(INPUTS - 1), repeated(INPUTS - 1), rtol=1e-9)


def test_leave_one_out_equals_a_fit_without_the_sample(process):
    first, last = slice(0, 59), slice(59, 60)
    few = fit(rows_of(INPUTS[first], LABELS[first]), seed=0)
    seen = few.update(rows_of(INPUTS[last], LABELS[last], [3.0]))
    assert_allclose(
        seen.leave_one_out(INPUTS[last], np.array([3.0])), few(INPUTS[last]), rtol=1e-9
    )
    assert seen(INPUTS[last]) < few(INPUTS[last])


def test_the_metric_is_that_within_classes(process):
    """A shift that is small compared with the spread of all samples is detected."""
    step = np.zeros(4)
    step[2] = 0.5  # five standard deviations within classes, half of one of all
    wide = np.array([0.0, 5.0, 0.0, 0.0])  # half a standard deviation within classes
    assert process(INPUTS + step).mean() > 1.5 * process(INPUTS + wide).mean()


def test_far_inputs_have_the_prior_variance(process):
    assert (process(INPUTS + 1000.0) > 0.8).all()
    assert process(INPUTS).max() < 0.8


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        pytest.param(np.ones((1, 3)), [0], id="one sample"),
        pytest.param(np.ones((8, 3)), [0, 1] * 4, id="equal samples"),
        pytest.param(np.eye(8, 20), [0, 1] * 4, id="more features than samples"),
        pytest.param(INPUTS[:2], [0, 2], id="a class without samples"),
        pytest.param(
            unit_length(1 + 1e-9 * INPUTS), LABELS, id="equal except for rounding"
        ),
    ],
)
def test_unusual_samples(inputs, labels):
    process = fit(rows_of(inputs, np.array(labels, np.int32)), seed=0)
    known, far = process(inputs), process(inputs + 1e6)
    assert ((0 <= known) & (known <= 1)).all()
    assert (far > known).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arithmetic_is_that_of_the_inputs(dtype):
    inputs = INPUTS.astype(dtype)
    process = fit(rows_of(inputs, LABELS), seed=0)
    assert process.features(inputs).dtype == process.kernel.dtype == dtype
    assert process(inputs).dtype == np.float64


def test_vectors_have_unit_length():
    vectors = np.array([[3.0, 4.0], [3e-20, 4e-20], [0.0, 0.0]])
    assert_allclose(unit_length(vectors)[:2], [[0.6, 0.8]] * 2)
    assert_allclose(unit_length(vectors)[2], 0)
    large = np.full((1, 4), 1e30, np.float32)  # the square is infinite in float32
    assert unit_length(large).dtype == np.float32
    assert_allclose(unit_length(large), 0.5)
