import threading
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.datasets import load_wine

from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._tensorflow import network_pool
from sksngp._uncertainty.entropy import KINDS

FIELDS = {"num_outputs": 3, "num_layers": 1, "num_hidden": 5}
#: Two sets of values of parameters that do not belong to the architecture.
SHARED = [
    {"learning_rate": 1e-4, "dropout_rate": 0.05, "epochs": 1, "batch_size": 3},
    {"learning_rate": 0.1, "dropout_rate": 0.8, "epochs": 7, "batch_size": None}
    | {"standardize": False, "ood_alpha": 0.2},
]
OWN = {
    SNGPClassifier: [
        {"spec_norm_bound": 0.1, "kernel_scale": 0.3, "ridge_penalty": 2.0}
        | {"mean_field_factor": 0.0},
        {"spec_norm_bound": 5.0, "kernel_scale": 100.0, "cov_momentum": 0.9}
        | {"inference": "monte_carlo"},
    ],
    ResNetClassifier: [{}, {}],
    MCDropoutClassifier: [{"num_samples": 1}, {"num_samples": 7}],
    DeepEnsembleClassifier: [{}, {}],
}


@pytest.fixture(scope="module", autouse=True)
def pool_of_these_tests():
    """Use a separate pool, because these tests remove all networks from it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_pool, "_idle", OrderedDict())
        patch.setattr(network_pool, "_released_traces", 0)
        yield
        network_pool.clear()


def use(clf, X, y):
    """Call all methods that may compile."""
    clf.fit(X, y).predict_proba(X)
    for kind in KINDS:
        clf.predict_uncertainty(X, kind=kind)
    return clf.partial_fit(X[::2], y[::2])


def traces_of(action):
    before = network_pool.num_traces()
    action()
    return network_pool.num_traces() - before


@pytest.fixture(scope="module", params=OWN, ids=lambda cls: cls.__name__)
def first_use(request, small, iris, outputs):
    """Return a factory of classifiers, the traces of the first use and the outputs."""

    def make(**params):
        params = {"num_layers": 1, "num_hidden": 13, "num_inducing": 32} | params
        names = request.param().get_params()
        own = {name: params[name] for name in params.keys() & names.keys()}
        return small(request.param, **own)

    network_pool.clear()
    clf = make().fit(*iris)
    found = outputs(clf, iris[0])
    use(clf, *iris)
    return make, network_pool.num_traces(), found


# Compiling once


def test_second_fit_of_an_architecture_compiles_nothing(first_use, iris):
    make, traces, _ = first_use
    assert traces > 0
    use(make(), *iris)
    assert traces_of(lambda: use(make(), *iris)) == 0
    for shared, own in zip(SHARED, OWN[type(make())], strict=True):
        clf = make(**shared, **own)
        assert traces_of(lambda clf=clf: use(clf, *iris)) == 0


def test_other_numbers_of_samples_and_features_compile_nothing(first_use, iris):
    make, _, _ = first_use
    use(make(), *iris)
    wide, wine_classes = load_wine(return_X_y=True)
    X, y = iris
    for samples, labels in [(X[::3], y[::3]), (X[:, :1], y), (wide, wine_classes)]:
        assert traces_of(lambda a=samples, b=labels: use(make(), a, b)) == 0


def test_previous_use_of_a_network_has_no_effect(first_use, iris, outputs):
    make, _, expected = first_use
    X, y = iris
    # An error during training leaves other scalars, weights and moments.
    failing = {"learning_rate": 1e38, "dropout_rate": 0.9, "optimizer": "adam"}
    failing |= {"spec_norm_bound": 1e-3, "kernel_scale": 1e3}
    with pytest.raises(ValueError, match="learning_rate"):
        make(**failing).fit(X, y)
    np.testing.assert_array_equal(outputs(make().fit(X, y), X), expected)


@pytest.mark.slow
def test_another_architecture_is_counted(small, iris):
    def use_width(num_hidden):
        use(small(ResNetClassifier, num_layers=0, num_hidden=num_hidden), *iris)

    use_width(13)
    assert traces_of(lambda: use_width(12)) > 0


@pytest.mark.slow
def test_members_of_an_ensemble_train_as_one_graph(small, iris):
    network_pool.clear()
    size = {"num_layers": 1, "num_hidden": 9}
    single = traces_of(lambda: use(small(ResNetClassifier, **size), *iris))
    for num_ensemble in (2, 6):
        clf = small(DeepEnsembleClassifier, **size, num_ensemble=num_ensemble)
        assert traces_of(lambda clf=clf: use(clf, *iris)) == single > 0


# Leases


def test_returned_network_is_leased_again():
    with network_pool.lease(**FIELDS) as first:
        pass
    with network_pool.lease(**FIELDS) as second:
        assert second is first
        with network_pool.lease(**FIELDS) as third:
            assert third is not first
    with network_pool.lease(**{**FIELDS, "num_outputs": 4}) as other:
        assert other is not first
        assert other.architecture.num_outputs == 4


def test_network_is_returned_after_an_exception():
    with pytest.raises(KeyboardInterrupt), network_pool.lease(**FIELDS) as first:
        raise KeyboardInterrupt
    with network_pool.lease(**FIELDS) as second:
        assert second is first


def test_threads_never_share_a_network():
    n_threads, barrier = 4, threading.Barrier(4, timeout=60)
    in_use, lock, clashes = set(), threading.Lock(), []

    def borrow(_):
        barrier.wait()
        for _ in range(50):
            with network_pool.lease(**FIELDS) as compiled:
                with lock:
                    clashes.extend(in_use & {id(compiled)})
                    in_use.add(id(compiled))
                compiled.networks[0].dropout_rate.assign(0.25)
                with lock:
                    in_use.discard(id(compiled))

    with network_pool.lease(**FIELDS), ThreadPoolExecutor(n_threads) as executor:
        list(executor.map(borrow, range(n_threads)))
    assert clashes == []


def test_two_threads_at_once_get_two_networks():
    barrier = threading.Barrier(2, timeout=60)

    def borrow(_):
        with network_pool.lease(**FIELDS) as compiled:
            barrier.wait()  # until the other thread holds a network
            return id(compiled)

    with ThreadPoolExecutor(2) as executor:
        assert len(set(executor.map(borrow, range(2)))) == 2


def test_clear_forgets_idle_networks():
    with network_pool.lease(**FIELDS) as first:
        network_pool.clear()
    assert network_pool.num_traces() == first.traces
    network_pool.clear()
    assert network_pool.num_traces() == 0
    with network_pool.lease(**FIELDS) as second:
        assert second is not first


# Bounds


def use_width(num_hidden):
    with network_pool.lease(**{**FIELDS, "num_hidden": num_hidden}) as compiled:
        compiled.hidden(np.zeros((2, num_hidden), np.float32))
    return compiled


@pytest.mark.slow
def test_architectures_used_least_recently_are_released(monkeypatch):
    monkeypatch.setattr(network_pool, "MAX_ARCHITECTURES", 2)
    network_pool.clear()
    first, second = use_width(3), use_width(4)
    assert use_width(3) is first
    released = weakref.ref(second)
    del second
    third = use_width(6)
    assert released() is None
    assert use_width(3) is first
    assert use_width(6) is third
    assert network_pool.num_traces() == 3  # of the released network as well


def test_networks_of_one_architecture_are_kept_together(monkeypatch):
    """Threads that share an architecture do not displace each other's networks."""
    monkeypatch.setattr(network_pool, "MAX_ARCHITECTURES", 1)
    with network_pool.lease(**FIELDS) as first, network_pool.lease(**FIELDS) as second:
        pass
    with network_pool.lease(**FIELDS) as again, network_pool.lease(**FIELDS) as other:
        assert {id(again), id(other)} == {id(first), id(second)}


@pytest.mark.slow
def test_a_network_may_be_in_use_while_its_architecture_is_released(monkeypatch):
    monkeypatch.setattr(network_pool, "MAX_ARCHITECTURES", 1)
    with network_pool.lease(**FIELDS) as first:
        use_width(3), use_width(4)
        assert first.hidden(np.ones((2, 5), np.float32)).shape == (2, 5)
    with network_pool.lease(**FIELDS) as second:
        assert second is first


@pytest.mark.slow
def test_released_architectures_leave_no_functions(monkeypatch, small, iris):
    from tensorflow.python.eager import context

    monkeypatch.setattr(network_pool, "MAX_ARCHITECTURES", 1)
    size = {"num_layers": 1, "num_inducing": 16}
    use(small(SNGPClassifier, num_hidden=3, **size), *iris)
    names = set(context.context().list_function_names())
    use(small(SNGPClassifier, num_hidden=4, **size), *iris)
    assert len(context.context().list_function_names()) == len(names)


@pytest.mark.slow
def test_predictions_after_release(monkeypatch, fitted_on_moons, moons, outputs):
    clf, X = fitted_on_moons(SNGPClassifier), moons[0]
    expected = outputs(clf, X)
    network_pool.clear()
    np.testing.assert_array_equal(outputs(clf, X), expected)
    monkeypatch.setattr(network_pool, "MAX_LOADED", 0)  # arrays are loaded again
    np.testing.assert_array_equal(outputs(clf, X), expected)
