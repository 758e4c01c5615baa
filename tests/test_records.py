"""Records of objects whose attributes must not be restored from files."""

import numpy as np
import pytest
from scipy import stats
from scipy.interpolate import BSpline
from sklearn.metrics import log_loss
from sklearn.preprocessing import FunctionTransformer, SplineTransformer

from sksngp._persistence.records import (
    DistributionRecord,
    FunctionRecord,
    Record,
    SplineRecord,
    with_records,
)


def restored(record):
    kind, arguments = record.__reduce__()
    return kind(*arguments)


def test_distributions():
    frozen = stats.randint(1, high=5)
    same = restored(with_records(frozen))
    assert (
        same.dist.name == "randint" and same.args == (1,) and same.kwds == {"high": 5}
    )


@pytest.mark.parametrize(
    ("name", "args"),
    [("rv_histogram", (1,)), ("eval", ()), ("norm", ("x",)), ("norm", ([1] * 9,))],
)
def test_other_distributions_are_rejected(name, args):
    with pytest.raises(ValueError, match=r"trusted|must be numbers"):
        DistributionRecord(name, args, {})


def test_functions():
    for function in (np.log1p, log_loss):
        assert restored(with_records(function)) is function
    with pytest.raises(ValueError, match="not trusted"):
        FunctionRecord("numpy.load")
    assert with_records(np.load) is np.load


def test_splines_are_checked():
    spline = BSpline(np.arange(8.0), np.ones((4, 2)), 3, extrapolate="periodic")
    same = restored(with_records(spline))
    np.testing.assert_array_equal(same(0.5), spline(0.5))
    assert same.extrapolate == "periodic"
    for t, c, k in (
        (np.arange(8.0), np.ones(3), 3),  # too few coefficients
        (np.arange(8.0)[::-1], np.ones(4), 3),
        (np.full(8, np.nan), np.ones(4), 3),
        (np.arange(8.0), np.ones(4), 10**9),
        (np.arange(8.0), np.ones(4), -1),
    ):
        with pytest.raises(ValueError):
            SplineRecord(t, c, k, True, 0)


def test_only_containers_of_records_are_copied():
    spline = SplineTransformer().fit(np.arange(9.0)[:, None])
    other = FunctionTransformer()
    model = [other, {"a": (spline, spline)}]
    copied = with_records(model)
    assert copied[0] is other and copied is not model
    first, second = copied[1]["a"]
    assert first is second and first is not spline
    assert isinstance(first.bsplines_[0], Record)
    assert isinstance(spline.bsplines_[0], BSpline)


def test_models_that_contain_themselves():
    model = [np.log1p]
    model.append(model)
    assert isinstance(with_records(model)[0], FunctionRecord)
