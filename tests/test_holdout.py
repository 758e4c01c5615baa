import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sksngp._data.holdout import (
    MAX_HELD_OUT_FRACTION,
    HoldOut,
    are_below,
    cutoff_for_fraction,
    digests,
    hold_out,
)


@st.composite
def labelled_rows(draw):
    """Return samples with duplicates within and across classes."""
    shape = draw(st.tuples(st.integers(2, 60), st.integers(1, 2)))
    values = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.0, 1e300])
    labels = arrays(np.int32, shape[0], elements=st.integers(0, 2))
    return draw(arrays(np.float64, shape, elements=values)), draw(labels)


fractions = st.floats(0.01, 0.99)
seeds = st.integers(0, 2**63 - 1)


@given(labelled_rows(), fractions, st.integers(0, 30), seeds, st.data())
def test_held_out_samples_depend_only_on_values(
    problem, fraction, at_least, seed, data
):
    X, labels = problem
    held_out = hold_out(digests(X, seed), labels, fraction, at_least=at_least)
    order = np.array(data.draw(st.permutations(range(len(X)))))
    repeated = np.append(order, data.draw(st.lists(st.sampled_from(range(len(X))))))
    repeated = repeated.astype(int)
    again = hold_out(
        digests(X[repeated], seed), labels[repeated], fraction, at_least=at_least
    )
    np.testing.assert_array_equal(again, held_out[repeated])


@given(labelled_rows(), fractions, seeds)
def test_held_out_samples_have_no_duplicates_in_training(problem, fraction, seed):
    X, labels = problem
    held_out = hold_out(digests(X, seed), labels, fraction)
    out, kept = (set(map(tuple, X[mask])) for mask in (held_out, ~held_out))
    assert not out & kept


@given(labelled_rows(), fractions, st.integers(0, 30), seeds)
def test_every_class_keeps_a_training_sample(problem, fraction, at_least, seed):
    X, labels = problem
    held_out = hold_out(digests(X, seed), labels, fraction, at_least=at_least)
    assert set(labels[~held_out]) == set(labels)


@pytest.mark.parametrize("fraction", [0.01, 0.07, 0.1, 0.14, 0.29, 0.5, 0.57, 0.99])
def test_fraction_of_each_class_is_rounded_up(fraction):
    rng = np.random.default_rng(0)
    sizes = [100, 30, 3, 1]
    labels = rng.permutation(np.repeat(range(4), sizes))
    X = rng.normal(size=(len(labels), 2))
    held_out = hold_out(digests(X, 0), labels, fraction)
    percent = round(100 * fraction)
    expected = [min(-(-percent * size // 100), size - 1) for size in sizes]
    assert np.bincount(labels[held_out], minlength=4).tolist() == expected


def test_sample_of_two_classes_is_held_out_of_both_or_none():
    X = np.arange(300.0)[:, None]
    X, labels = np.concatenate([X[:200], X[100:]]), np.repeat([0, 1], 200)
    held_out = hold_out(digests(X, 0), labels, 0.1)
    np.testing.assert_array_equal(held_out[100:200], held_out[200:300])
    assert held_out[100:200].any()  # about a tenth, as for other samples
    assert 10 <= np.bincount(labels[held_out]).min() <= 20


@given(labelled_rows(), fractions, seeds)
def test_at_least_one_sample_is_held_out_if_possible(problem, fraction, seed):
    X, labels = problem
    X = X + 0.0  # -0.0 equals 0.0
    distinct = [set(map(tuple, X[labels == label])) for label in np.unique(labels)]
    needed = set().union(*(rows for rows in distinct if len(rows) == 1))
    held_out = hold_out(digests(X, seed), labels, fraction)
    assert held_out.any() == bool(set().union(*distinct) - needed)


@given(labelled_rows(), fractions, st.integers(1, 8), seeds)
def test_at_least_the_minimum_or_none_is_held_out(problem, fraction, at_least, seed):
    X, labels = problem
    held_out = hold_out(digests(X, seed), labels, fraction, at_least=at_least)
    assert not 0 < len(np.unique(X[held_out] + 0.0, axis=0)) < at_least


def test_equal_values_of_different_types_are_equal_samples():
    X = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]] * 3)
    X[4:8, 0] *= -1.0
    X[4] = [-0.0, 1.0]
    labels = np.arange(12) % 2
    expected = hold_out(digests(X, 0), labels, 0.4)
    assert expected.any()
    assert expected[0] == expected[4] == expected[8]
    for dtype in (np.float32, np.int64):
        np.testing.assert_array_equal(digests(X.astype(dtype), 0), digests(X, 0))
    np.testing.assert_array_equal(digests(np.asfortranarray(X), 0), digests(X, 0))


def test_seed_changes_the_selection_and_zero_holds_out_none():
    X, labels = np.arange(100.0)[:, None], np.zeros(100, int)
    first, second = (hold_out(digests(X, seed), labels, 0.2) for seed in (0, 1))
    assert first.sum() == second.sum() == 20
    assert (first != second).any()
    assert not hold_out(digests(X, 0), labels, 0.0, at_least=10).any()


def test_every_sample_is_equally_likely():
    X, labels = np.arange(50.0)[:, None], np.arange(50) % 2
    counts = sum(
        hold_out(digests(X, seed), labels, 0.2).astype(int) for seed in range(500)
    )
    assert counts.sum() == 500 * 10
    assert np.abs(counts - 100).max() < 5 * np.sqrt(500 * 0.2 * 0.8)


@pytest.mark.parametrize("n", [20, 79, 80, 100, 199, 200, 5000])
def test_at_least_increases_the_fraction_up_to_a_quarter(n):
    X, labels = np.arange(float(n))[:, None], np.arange(n) % 2
    count = hold_out(digests(X, 0), labels, 0.1, at_least=20).sum()
    if n < 20 / MAX_HELD_OUT_FRACTION:
        assert count == 0
    else:
        per_class = np.array([math.ceil(n / 2), n // 2])
        assert count == np.ceil(np.maximum(0.1, 20 / n) * per_class - 1e-9).sum()
        assert count >= 20


@pytest.mark.parametrize("seed", range(10))
def test_at_least_holds_for_samples_with_several_labels(seed):
    """Such samples are held out only if each of their classes selects them."""
    rng = np.random.default_rng(seed)
    X, labels = rng.integers(0, 120, (300, 1)).astype(float), rng.integers(0, 2, 300)
    unique = len(np.unique(X))
    held_out = len(np.unique(X[hold_out(digests(X, seed), labels, 0.1, at_least=19)]))
    assert 19 <= held_out <= MAX_HELD_OUT_FRACTION * unique


def test_at_least_holds_if_it_is_almost_a_quarter():
    """Classes of one sample are not held out, so others are held out more often."""
    hashes, labels = np.arange(1, 80).astype(np.uint64), np.zeros(79, np.int32)
    labels[:5] = range(1, 6)
    assert hold_out(hashes, labels, 0.1, at_least=19).sum() == 19
    assert not hold_out(hashes, labels, 0.1, at_least=20).any()


def test_fractions_above_a_quarter_are_used():
    X, labels = np.arange(30.0)[:, None], np.zeros(30, int)
    assert hold_out(digests(X, 0), labels, 0.6, at_least=5).sum() == 18
    assert hold_out(digests(X, 0), labels, 0.6, at_least=20).sum() == 0


# Held-out samples in further training


@given(
    arrays(float, (12, 1), elements=st.integers(0, 6)),
    arrays(int, 12, elements=st.integers(0, 2)),
    st.floats(0.05, 0.9),
)
def test_rule_of_a_mask_holds_out_the_same_samples_again(X, labels, fraction):
    hashes = digests(X, 3)
    mask = hold_out(hashes, labels, fraction)
    rule = HoldOut.of_mask(hashes, labels, mask, num_classes=3, key=3)
    np.testing.assert_array_equal(rule.mask(rule.digests(X), labels), mask)


def test_samples_below_the_cutoff_that_were_trained_on_stay_there():
    """A sample of two classes is trained on; later, it has one label only."""
    hashes = np.array([1, 5, 5, 9], np.uint64)
    labels = np.array([0, 0, 1, 0], np.int32)
    mask = np.array([True, False, False, True])
    rule = HoldOut.of_mask(hashes, labels, mask, num_classes=2, key=0)
    np.testing.assert_array_equal(rule.trained, [5])
    later = rule.mask(np.array([5, 6], np.uint64), np.zeros(2, np.int32))
    np.testing.assert_array_equal(later, [False, True])


def test_samples_of_earlier_training_are_not_exchanged():
    X, labels = np.arange(100.0)[:, None], np.arange(100) % 2
    rule = HoldOut.of_fraction(0.3, 2, key=5)
    hashes = rule.digests(X)
    before = rule.mask(hashes, labels)
    assert 0 < before.sum() < 100
    trained, held_out = hashes[before][:3], hashes[~before][:4]
    later = rule.after(held_out=held_out, trained=trained).mask(hashes, labels)
    changed = np.isin(hashes, np.append(trained, held_out))
    np.testing.assert_array_equal(later, before ^ changed)
    again = rule.after(held_out=held_out, trained=trained[:0]).after(
        held_out=held_out[:0], trained=trained
    )
    np.testing.assert_array_equal(again.mask(hashes, labels), later)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_cutoff_for_a_fraction(fraction):
    X, labels = np.arange(5000.0)[:, None], np.arange(5000) % 2
    limits = np.full(2, cutoff_for_fraction(fraction), np.uint64)
    share = are_below(digests(X, 0), limits[labels]).mean()
    assert abs(share - fraction) < 4 * np.sqrt(fraction * (1 - fraction) / 5000) + 1e-9
