"""Unusual cells, and the rows that are flagged because of them."""

import numpy as np
import pandas as pd
import pytest

from sksngp._cli.columns import Column
from sksngp._cli.features import Features
from sksngp._cli.unusual import describe_cells, flag_cells, rare_events

COLUMNS = [
    Column("full", "number"),
    Column("rare", "number", missing=0.01),
    Column("often", "number", missing=0.4),
    Column("kind", "text", counts={"u": 50, "v": 50}),
    Column("names", "text", counts={f"n{i}": 1 for i in range(50)} | {"n": 50}),
]


@pytest.fixture
def features():
    values = pd.DataFrame(
        {
            "full": [1.0, np.nan, 1, 1, 1],
            "rare": [1, 1, np.nan, 1, 1],
            "often": [np.nan, 1, 1, 1, 1],
            "kind": ["u", "v", "u", "zzz", "v"],
            "names": ["n", "n", "n", "n", "other"],
        }
    )
    unseen = values.isin(["zzz", "other"])
    return Features(values, unseen)


def test_rarest_events_flag_within_half_of_the_rate(features):
    events, rate = rare_events(COLUMNS, alpha=0.05)
    assert rate == pytest.approx(0.01)
    assert ("often", "missing") not in events
    assert ("names", "never seen") not in events  # a third of new names is unknown
    assert flag_cells(features, events).tolist() == [False, True, True, True, False]
    events, rate = rare_events(COLUMNS, alpha=0.01)
    assert rate == 0
    assert flag_cells(features, events).tolist() == [False, True, False, True, False]


def test_false_positive_rate_of_unusual_cells():
    rng = np.random.default_rng(0)
    columns = [Column(f"c{i}", "number", missing=0.004) for i in range(30)]
    events, rate = rare_events(columns, alpha=0.05)
    assert len(events) == 6
    values = pd.DataFrame(
        np.where(rng.random((20_000, 30)) < 0.004, np.nan, 1),
        columns=[column.name for column in columns],
    )
    flagged = flag_cells(Features(values, values != values), events).mean()
    assert 0.5 * rate < flagged <= 0.025


def test_unusual_cells_are_described(features):
    assert describe_cells(features, COLUMNS).tolist() == [
        "",
        "full is missing",
        "rare is missing",
        "kind 'zzz' was never seen",
        "names 'other' was never seen",
    ]
