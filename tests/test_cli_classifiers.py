"""Classifiers of the command line, and the measures that it prints."""

import numpy as np
import pytest

from sksngp._cli.classifiers import CLASSIFIERS, make_classifier, quality
from sksngp._cli.options import make_parser


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_options_replace_defaults(name):
    defaults = CLASSIFIERS[name]().get_params()
    plain = make_classifier(name, make_parser().parse_args(["--random-state", "3"]))
    assert plain.get_params() == defaults | {"random_state": 3, "verbose": 1}
    argv = "--random-state 3 --epochs 7 --ood-alpha 0.2".split()
    changed = make_classifier(name, make_parser().parse_args(argv), cv=None)
    assert changed.get_params() == plain.get_params() | {
        "epochs": 7,
        "ood_alpha": 0.2,
        "cv": None,
    }


def test_quality_by_hand():
    """Of four rows, three are right; all are predicted with a probability of 0.8."""
    y, labels = np.array(["a", "a", "b", "b"]), np.array(["a", "b"])
    proba = np.array([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8], [0.8, 0.2]])
    found = quality(y, proba, labels)
    assert found.accuracy == 0.75
    assert found.nll == pytest.approx(-(3 * np.log(0.8) + np.log(0.2)) / 4)
    assert found.ece == pytest.approx(0.05)
