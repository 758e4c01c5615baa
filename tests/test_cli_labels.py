"""Class labels, which are compared by value."""

import pandas as pd
import pytest

from sksngp._cli.labels import commonest, known_labels, read_labels
from sksngp._cli.tables import InputError, Table


def read(*cells):
    return read_labels(Table("t.csv", pd.DataFrame({"y": cells})), "y")


def test_labels_keep_the_spelling_of_training():
    labels, spellings = read("1.0", "0.0", "1.0", "0.0", "1")
    assert labels.tolist() == ["1.0", "0.0", "1.0", "0.0", "1.0"]
    new = known_labels(pd.Series(["1", "0", "", "2"]), spellings)
    assert new.tolist() == ["1.0", "0.0", None, "2"]


def test_labels_in_another_case():
    labels, spellings = read(*["yes"] * 20, "Yes", *["no"] * 20)
    assert set(labels) == {"yes", "no"}
    new = known_labels(pd.Series(["YES", "No", "NA"]), spellings)
    assert new.tolist() == ["yes", "no", None]


def test_words_that_count_as_missing_are_named():
    message = r"1 of 5 rows lack .* first row 3 \('None' counts as missing\)$"
    with pytest.raises(InputError, match=message):
        read("a", "b", "None", "a", "b")
    with pytest.raises(InputError, match=r"first row 1$"):
        read("", "b", "a", "b", "a")


def test_commonest_label():
    assert commonest(read("b", "a", "b", "b")[0]) == ("b", 0.75)
