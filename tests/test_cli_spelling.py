"""Different spellings of the same value."""

import pandas as pd

from sksngp._cli.spelling import Spellings


def learn(*cells):
    return Spellings.learn(pd.Series(cells))


def test_numbers_and_truth_values_are_compared_as_values():
    spellings = learn("1.0", "0.0", "1.0", "1", "2")
    assert spellings.read(["1", "1.0", "1.00", "1e0", "0", "-0", "2.0"]).tolist() == [
        *("1.0", "1.0", "1.0", "1.0", "0.0", "0.0", "2"),
    ]
    truth = learn("True", "true", "False", "TRUE")
    assert truth.distinct == ["True", "False"]
    assert truth.read(["true", "FALSE"]).tolist() == ["True", "False"]


def test_large_integers_stay_distinct():
    numbers = ["9007199254740992", "9007199254740993"]
    assert learn(*numbers).read(numbers).tolist() == numbers


def test_codes_are_not_numbers():
    assert learn("007", "7").distinct == ["007", "7"]
    assert learn("7").read(["007"]).tolist() == ["007"]


def test_rare_spelling_is_read_as_the_common_one():
    spellings = learn(*["yes"] * 30, "Yes", *["no"] * 20, "No ")
    assert spellings.distinct == ["yes", "no"]
    assert spellings.merged() == ["'Yes' is read as 'yes'", "'No ' is read as 'no'"]
    assert spellings.apart() == []
    assert spellings.read(["YES", "maybe"]).tolist() == ["yes", "maybe"]


def test_common_spellings_are_kept_apart():
    spellings = learn(*"AAAaaa", "b")
    assert sorted(spellings.distinct) == ["A", "a", "b"]
    assert spellings.merged() == []
    assert spellings.apart() == ["'A' and 'a' are kept apart"]
    assert spellings.read(["a", "A"]).tolist() == ["a", "A"]
