"""Parts of the OOD score."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sksngp._uncertainty.conformal import threshold
from sksngp._uncertainty.ood_score import (
    BETWEEN_CLASSES,
    PART_WEIGHTS,
    combine,
    surprisals_of_parts,
    surprisals_of_references,
)
from sksngp._uncertainty.surprisal import fit_surprisal


def test_parts_are_added_with_their_weights():
    values = np.random.default_rng(0).exponential(size=(4, 5))
    parts = dict(zip(PART_WEIGHTS, values, strict=True))
    assert_allclose(combine(parts), values[:3].sum(axis=0) + values[3] / 2)


def test_models_may_lack_a_part():
    parts = {"entropy": np.array([2.0, 4.0]), "variance": np.ones(2)}
    assert_allclose(combine(parts), [2.0, 3.0])


def test_a_small_distance_counts_only_if_the_entropy_is_large():
    surprisals = {
        "variance": np.zeros(3),
        "input distance": np.zeros(3),
        "small input distance": np.array([5.0, 5.0, 0.0]),
        "entropy": np.array([0.0, 3.0, 3.0]),
    }
    distance = [5.0 - BETWEEN_CLASSES, 8.0 - BETWEEN_CLASSES, 0.0]
    expected = np.add(distance, surprisals["entropy"] / 2)
    assert_allclose(combine(surprisals), expected)


def test_references_have_the_surprisals_of_new_samples_among_the_others():
    rng = np.random.default_rng(0)
    parts = {name: rng.uniform(size=40) for name in PART_WEIGHTS}
    references = {name: fit_surprisal(part) for name, part in parts.items()}
    found = surprisals_of_references(references, parts)
    for index in range(40):
        others = {
            name: fit_surprisal(np.delete(part, index)) for name, part in parts.items()
        }
        one = {name: part[index : index + 1] for name, part in parts.items()}
        expected = surprisals_of_parts(others, one)
        assert expected.keys() == found.keys()
        for name, surprisal in expected.items():
            # The scale of the tail differs: it includes the sample.
            if one.get(name, [0])[0] < np.max(parts.get(name, [1])):
                assert_allclose(found[name][index], surprisal[0], rtol=1e-9)


@pytest.mark.parametrize("num_references", [20, 100])
def test_false_positive_rate(num_references):
    """New samples exceed all references in one of the parts in many cases."""
    rng = np.random.default_rng(0)

    def draw(size):
        normal = rng.normal(size=(size, 1)) + rng.normal(size=(size, len(PART_WEIGHTS)))
        return dict(zip(PART_WEIGHTS, np.exp(normal).T, strict=True))

    rates = []
    for _ in range(400):
        known, new = draw(num_references), draw(500)
        references = {name: fit_surprisal(part) for name, part in known.items()}
        scores = combine(surprisals_of_references(references, known))
        new_scores = combine(surprisals_of_parts(references, new))
        rates.append((new_scores > threshold(scores, alpha=0.05)).mean())
    assert 0.03 < np.mean(rates) < 0.055
