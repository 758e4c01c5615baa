import copy
from unittest.mock import patch

import numpy as np
import pytest
import tensorflow as tf
from common import SNGP_FORMS
from reference import variance_of
from scipy.spatial.distance import cdist, pdist
from scipy.special import softmax
from sklearn.datasets import load_digits, load_iris, load_wine

from sksngp import SNGPClassifier, _selection
from sksngp._data.rows import Rows
from sksngp._tensorflow.layers import RandomFeatureGaussianProcess, official_layers
from sksngp._uncertainty import posterior
from sksngp._uncertainty.conformal import pvalues
from sksngp._uncertainty.entropy import normalized_entropy
from sksngp._uncertainty.temperature import fit_temperature

mean_field_logits = official_layers("gaussian_process.py").mean_field_logits

PER_CLASS = {"covariance": "per_class", "inference": "monte_carlo"}
ALL_ROWS = {"validation_fraction": 0.0}  # all samples are in the training set, in order


@pytest.fixture
def make(small):
    return lambda **params: small(SNGPClassifier, **{"dtype": "float64", **params})


def network_outputs(clf, X):
    """Compute hidden representation, logits and random features in float64."""
    projected = clf.projection_(X)
    with clf._inference() as compiled:
        hidden = compiled.hidden(projected).numpy()
        logits, features = (out.numpy() for out in compiled.forward(projected))
    return hidden, logits, features


def spectral_norms(clf):
    kernels = [
        clf.weights_[f"hidden_{block}/kernel"] for block in range(clf.num_layers)
    ]
    return [np.linalg.svd(k.astype(float), compute_uv=False)[0] for k in kernels]


def far_rows(X, radius, n=200, seed=0):
    """Return samples in random directions, `radius` standard deviations away."""
    directions = np.random.default_rng(seed).normal(size=(n, X.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return X.mean(axis=0) + radius * X.std(axis=0) * directions


# Spectral norms


@pytest.mark.parametrize(
    ("bound", "num_layers", "dtype"),
    [
        (0.1, 2, "float64"),
        (0.1, 3, "float32"),
        (0.9, 2, "float64"),
        (0.9, 3, "float32"),
        (1.5, 3, "float32"),
    ],
)
def test_no_kernel_exceeds_the_bound(make, iris, bound, num_layers, dtype):
    X, y = iris
    clf = make(
        spec_norm_bound=bound,
        num_layers=num_layers,
        dtype=dtype,
        learning_rate=0.1,
        **ALL_ROWS,
    ).fit(X, y)
    norms = [spectral_norms(clf)]
    for chunk in (slice(0, None, 2), slice(1, None, 2)):
        clf.partial_fit(X[chunk], y[chunk])
        norms.append(spectral_norms(clf))
    clf.set_params(warm_start=True).fit(X, y)
    norms.append(spectral_norms(clf))
    assert np.max(norms) <= bound
    assert (
        np.max(norms, axis=1).min() > 0.99 * bound
    )  # otherwise, the bound has no effect


@pytest.mark.parametrize("early_stopping", [False, True])
def test_bound_holds_for_the_best_epoch_and_for_a_stream(make, iris, early_stopping):
    X, y = iris
    clf = make(spec_norm_bound=0.5, learning_rate=0.1, early_stopping=early_stopping)
    if early_stopping:
        clf.fit(X, y)
    else:
        clf.partial_fit(X, y, classes=[0, 1, 2])
    assert 0.495 < max(spectral_norms(clf)) <= 0.5


# Comparison with the layer of tf-models-official


def official_layer(clf, hidden):
    """Return the official output layer with the fitted weights, reset to the prior."""
    layer = RandomFeatureGaussianProcess(
        len(clf.classes_),
        num_inducing=clf.num_inducing,
        gp_kernel_scale=clf.kernel_scale_,
        gp_cov_momentum=clf.cov_momentum,
        gp_cov_ridge_penalty=clf.ridge_penalty_,
        return_random_features=True,
    )
    layer.build(hidden.shape)
    layer._random_feature.kernel.assign(clf.weights_["random_features/kernel"])
    layer._random_feature.bias.assign(clf.weights_["random_features/bias"])
    layer._gp_output_layer.kernel.assign(clf.weights_["output/kernel"])
    layer._gp_output_bias.assign(clf.weights_["output/bias"])
    layer.reset_covariance_matrix()
    return layer


@pytest.mark.parametrize("ridge_penalty", [0.1, 1.0])
@pytest.mark.parametrize("cov_momentum", [-1, 0.6, 0.999])
def test_prediction_is_that_of_the_official_layer(
    make, iris, cov_momentum, ridge_penalty
):
    X, y = iris
    clf = make(
        cov_momentum=cov_momentum,
        ridge_penalty=ridge_penalty,
        batch_size=32,
        epochs=20,
        **ALL_ROWS,
    ).fit(X, y)
    rows = np.vstack([X[::5], far_rows(X, 4, n=20)])
    hidden, logits, features = network_outputs(clf, rows)
    train = tf.constant(network_outputs(clf, X)[0], tf.float32)
    layer = official_layer(clf, train)
    batch = 32 if cov_momentum > 0 else len(X)
    for start in range(0, len(X), batch):
        layer(train[start : start + batch], training=True)
    their_logits, covariance, their_features = layer(
        tf.constant(hidden, tf.float32), training=False
    )
    np.testing.assert_allclose(features, their_features, atol=1e-5)
    np.testing.assert_allclose(logits, their_logits, atol=2e-5)
    variance = variance_of(clf.posterior_, features)[:, 0]
    np.testing.assert_allclose(variance, np.diag(covariance), rtol=1e-3, atol=1e-5)
    adjusted = mean_field_logits(their_logits, covariance, clf.mean_field_factor)
    np.testing.assert_allclose(
        clf.predict_proba(rows), softmax(adjusted, axis=1), atol=1e-5
    )


@pytest.mark.parametrize("validation_fraction", [0.0, 0.2])
def test_posterior_includes_every_sample_once(make, iris, validation_fraction):
    """The posterior includes all samples except held-out samples."""
    X, y = iris
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    clf = make(validation_fraction=validation_fraction, dtype="float64")
    clf.fit(X, y, sample_weight=weights)
    weights /= weights.mean()
    weights[clf._hold_out.mask(clf._hold_out.digests(X), y)] = 0
    assert (weights == 0).sum() == len(clf.ood_scores_)
    features = network_outputs(clf, X)[2]
    expected = clf.ridge_penalty_ * np.eye(64) + (features.T * weights) @ features
    np.testing.assert_allclose(clf.posterior_.precision[0], expected, atol=1e-10)


def test_streamed_posterior_includes_every_sample_with_current_features(make, iris):
    X, y = iris
    clf = make(**ALL_ROWS).partial_fit(X[::2], y[::2], classes=[0, 1, 2])
    clf.partial_fit(X[1::2], y[1::2])
    features = network_outputs(clf, X)[2]
    assert clf.ridge_penalty_ == 0.1
    expected = clf.ridge_penalty_ * np.eye(64) + features.T @ features
    np.testing.assert_allclose(clf.posterior_.precision[0], expected, atol=1e-10)


def test_stream_after_a_fit_updates_the_posterior(make, iris):
    X, y = iris
    clf = make(**ALL_ROWS).fit(X[::2], y[::2])
    before = clf.posterior_.precision[0]
    clf.partial_fit(X[1::2], y[1::2])
    features = network_outputs(clf, X[1::2])[2]
    np.testing.assert_allclose(
        clf.posterior_.precision[0], before + features.T @ features, atol=1e-10
    )


def test_per_class_posterior_equals_that_of_the_paper(make, iris):
    X, y = iris
    clf = make(
        covariance="per_class", inference="monte_carlo", epochs=20, **ALL_ROWS
    ).fit(X, y)
    _, logits, features = network_outputs(clf, X)
    p = softmax(logits, axis=1)
    variance = variance_of(clf.posterior_, features)
    for k in range(3):
        precision = clf.ridge_penalty_ * np.eye(64)
        precision += (features.T * (p * (1 - p))[:, k]) @ features
        expected = np.sum(features.T * np.linalg.solve(precision, features.T), axis=0)
        np.testing.assert_allclose(variance[:, k], expected, rtol=1e-7)
    share = variance.mean(axis=1) * clf.ridge_penalty_ / np.square(features).sum(axis=1)
    np.testing.assert_allclose(
        clf.predict_uncertainty(X, kind="epistemic"), share, rtol=1e-7
    )


def test_per_class_covariance_has_no_mean_field(make, iris):
    with pytest.raises(ValueError, match=r"per_class.*monte_carlo"):
        make(covariance="per_class").fit(*iris)


# Uncertainties and probabilities


def test_uncertainties_follow_the_documentation(make, iris):
    X, y = iris
    clf = make(epochs=20).fit(X, y)
    rows = np.vstack([X, far_rows(X, 5)])
    _, logits, features = network_outputs(clf, rows)
    share = variance_of(clf.posterior_, features)[:, 0] / np.square(features).sum(
        axis=1
    )
    expected = {
        "total": normalized_entropy(clf.predict_proba(rows)),
        "aleatoric": normalized_entropy(softmax(logits / clf.temperature_, axis=1)),
        "epistemic": share,
    }
    assert clf.temperature_ != 1
    untempered = normalized_entropy(softmax(logits, axis=1))
    projected = clf.projection_(rows, "float64")
    with clf._inference() as compiled:
        hidden = compiled.hidden(projected).numpy()
    hidden /= np.linalg.norm(hidden, axis=1, keepdims=True)
    parts = {
        "variance": share * np.sqrt(untempered),
        "input distance": clf.input_distance_(projected),
        "hidden distance": clf.hidden_distance_(hidden),
        "entropy": untempered,
    }
    surprisals = {name: clf._surprisals[name](part) for name, part in parts.items()}
    small = -np.log(
        pvalues(-parts["input distance"], -clf._surprisals["input distance"].scores)
    )
    combined = (
        surprisals["variance"]
        + np.maximum(surprisals["input distance"], small + surprisals["entropy"] - 4)
        + surprisals["hidden distance"]
        + surprisals["entropy"] / 2
    )
    np.testing.assert_allclose(-clf.score_samples(rows), combined, rtol=1e-6)
    for kind, score in expected.items():
        actual = clf.predict_uncertainty(rows, kind=kind)
        np.testing.assert_allclose(actual, score, rtol=1e-8, atol=1e-12)
    assert (share > 0).all() and (share <= 1).all()
    assert (expected["total"] >= expected["aleatoric"] - 1e-12).all()


def test_momentum_maps_the_unbounded_ratio_to_the_unit_interval(make, iris):
    X, y = iris
    clf = make(cov_momentum=0.5, batch_size=8, ridge_penalty=1e-3, **ALL_ROWS).fit(X, y)
    rows = np.vstack([X, far_rows(X, 5)])
    features = network_outputs(clf, rows)[2]
    ratio = variance_of(clf.posterior_, features)[:, 0] / np.square(features).sum(
        axis=1
    )
    assert ratio.max() > 2
    score = clf.predict_uncertainty(rows, kind="epistemic")
    np.testing.assert_allclose(score, ratio / (1 + ratio), rtol=1e-8)


def test_factor_zero_is_the_softmax_and_larger_factors_are_less_confident(make, iris):
    X, y = iris
    clf = make(mean_field_factor=0.0, temperature=1.0, epochs=20).fit(X, y)
    logits = network_outputs(clf, X)[1]
    np.testing.assert_allclose(
        clf.predict_proba(X), softmax(logits, axis=1), rtol=1e-12
    )
    entropies = [
        clf.set_params(mean_field_factor=factor).predict_uncertainty(X).mean()
        for factor in (0.0, 0.4, 25.0)
    ]
    assert entropies == sorted(set(entropies))


@pytest.mark.parametrize("covariance", ["shared", "per_class"])
def test_monte_carlo_averages_over_the_fitted_noise(make, iris, covariance):
    X, y = iris
    clf = make(
        inference="monte_carlo", covariance=covariance, num_samples=40, epochs=20
    ).fit(X, y)
    assert clf.noise_.shape == (40, 3)
    _, logits, features = network_outputs(clf, X)
    deviation = np.sqrt(variance_of(clf.posterior_, features))
    logits = logits / clf.temperature_ + deviation * clf.noise_[:, None]
    expected = softmax(logits, axis=-1).mean(axis=0)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-10)


@pytest.mark.slow
def test_monte_carlo_and_mean_field_agree(make, iris):
    X, y = iris
    params = {"epochs": 20, "num_samples": 2000}
    sampled = make(inference="monte_carlo", **params).fit(X, y).predict_proba(X)
    mean_field = make(**params).fit(X, y).predict_proba(X)
    assert np.abs(sampled - mean_field).sum(axis=1).max() / 2 < 0.03


# The kernel and the exact Gaussian process


def with_other_features(clf, num_inducing, seed):
    """Return the fitted network with new random features and without a posterior."""
    fresh = copy.copy(clf).set_params(num_inducing=num_inducing)
    fresh.architecture_ = {**clf.architecture_, "num_inducing": num_inducing}
    rng = np.random.default_rng(seed)
    drawn = fresh._fitted_architecture.initial_weights(rng, np.zeros(3))
    hidden = {k: w for k, w in clf.weights_.items() if k.startswith("hidden")}
    fresh.weights_ = drawn | hidden
    return fresh


def learn(clf, rows):
    """Fit the posterior of a network with new random features."""
    chunk = network_outputs(clf, rows)[2], np.ones((len(rows), 1))
    precision = clf.ridge_penalty_ * np.eye(clf.num_inducing)[None]
    precision = posterior.add_rows(precision, [chunk])
    clf.posterior_ = posterior.factorize(
        precision, clf.ridge_penalty_, clf.ridge_penalty_
    )
    return clf


def gaussian_kernel(a, b, scale):
    return np.exp(-cdist(a, b, "sqeuclidean") / (2 * scale))


@pytest.mark.parametrize("kernel_scale", ["auto", 0.7, 20.0])
def test_kernel_is_gaussian(make, iris, kernel_scale):
    X, y = iris
    clf = make(kernel_scale=kernel_scale).fit(X, y)
    hidden = network_outputs(clf, X)[0]
    exact = gaussian_kernel(hidden, hidden, clf.kernel_scale_)
    kernels = []
    for seed in range(12):
        features = network_outputs(with_other_features(clf, 1000, seed), X)[2]
        kernels.append(features @ features.T)
    error = np.mean(kernels, axis=0) - exact
    # A product of two cosine features deviates by about 1 / sqrt(their number).
    assert np.sqrt(np.mean(error**2)) < 1.5 / np.sqrt(12 * 1000)
    assert np.abs(error).max() < 6 / np.sqrt(12 * 1000)


@pytest.mark.slow
def test_variance_converges_to_that_of_the_exact_gaussian_process(make, iris):
    X, y = iris
    clf = make(epochs=20).fit(X, y)
    train = X[::3]
    rows = np.vstack([X[1::6], far_rows(X, 2, n=30), far_rows(X, 30, n=20)])
    known, hidden = network_outputs(clf, train)[0], network_outputs(clf, rows)[0]
    cross = gaussian_kernel(known, hidden, clf.kernel_scale_)
    gram = gaussian_kernel(known, known, clf.kernel_scale_)
    gram += clf.ridge_penalty_ * np.eye(len(known))
    exact = 1.0 - np.sum(cross * np.linalg.solve(gram, cross), axis=0)
    assert exact.min() < 0.3 and exact.max() > 0.99

    errors = {}
    for num_inducing, draws in [(32, 8), (256, 8), (2048, 2)]:
        scores = [
            learn(
                with_other_features(clf, num_inducing, seed), train
            ).predict_uncertainty(rows, kind="epistemic")
            for seed in range(draws)
        ]
        errors[num_inducing] = np.sqrt(np.mean(np.square(np.array(scores) - exact)))
    # With 8 times the features, the expected error decreases by a factor of sqrt(8).
    assert errors[2048] < errors[256] / 2 < errors[32] / 4
    assert errors[2048] < 0.03


def test_auto_scale_is_proportional_to_the_mean_squared_distance(make, iris):
    X, y = iris
    # With a tiny step and a large bound, the network remains at its initial state.
    clf = make(
        learning_rate=1e-30, spec_norm_bound=100.0, dtype="float64", **ALL_ROWS
    ).fit(X, y)
    distance = pdist(network_outputs(clf, X)[0], "sqeuclidean")
    # The mean is over all pairs of samples, including pairs of equal samples.
    expected = 2 * distance.sum() / len(X) ** 2
    assert clf.kernel_scale_ == pytest.approx(expected, rel=1e-9)
    weights = np.random.default_rng(0).integers(1, 4, len(X))
    weighted = copy.deepcopy(clf).fit(X, y, sample_weight=weights.astype(float))
    repeated = copy.deepcopy(clf).fit(np.repeat(X, weights, 0), np.repeat(y, weights))
    assert weighted.kernel_scale_ == pytest.approx(repeated.kernel_scale_, rel=1e-9)
    assert weighted.kernel_scale_ != pytest.approx(clf.kernel_scale_, rel=1e-4)


def test_auto_scale_of_equal_samples_is_one(make):
    clf = make().fit(np.ones((10, 2)), np.arange(10) % 3)
    assert clf.kernel_scale_ == 1.0
    assert np.isfinite(clf.predict_proba(np.ones((1, 2)))).all()


def test_singular_precision_is_regularized_with_a_warning(make):
    """Without a prior, few samples leave most variances undefined."""
    X = np.repeat([[0.0, 1.0], [1.0, 0.0]], 30, axis=0)
    clf = make(ridge_penalty=1e-300, dtype="float32")
    with pytest.warns(RuntimeWarning, match="Increase ridge_penalty"):
        clf.fit(X, np.arange(60) % 2)
    assert np.isfinite(clf.predict_proba(X * 7)).all()
    score = clf.predict_uncertainty(X * 7, kind="epistemic")
    assert ((score >= 0) & (score <= 1)).all()


# The temperature


@pytest.mark.parametrize("form", [{}, PER_CLASS], ids=["shared", "per class"])
def test_temperature_is_optimal_for_the_held_out_samples(make, iris, form):
    X, y = iris
    clf = make(epochs=20, **form)
    with patch.object(_selection, "fit_temperature", wraps=fit_temperature) as fit:
        clf.fit(X, y)
    proba, labels, weights = fit.call_args.args
    assert len(labels) == len(clf.ood_scores_) and (weights == 1).all()
    losses = [
        np.log(t) ** 2 / 2 - np.log(proba(t)[np.arange(len(labels)), labels]).sum()
        for t in clf.temperature_ * np.array([0.99, 1.0, 1.01])
    ]
    assert losses[1] == min(losses)


def test_temperature_divides_the_logits(make, iris):
    X, y = iris
    clf = make(temperature=2.0, mean_field_factor=0.0, epochs=20).fit(X, y)
    assert clf.temperature_ == 2.0
    logits = network_outputs(clf, X)[1]
    np.testing.assert_allclose(
        clf.predict_proba(X), softmax(logits / 2, axis=1), rtol=1e-12
    )


def test_temperature_is_one_without_held_out_samples(make, iris):
    X, y = iris
    assert make(validation_fraction=0).fit(X, y).temperature_ == 1.0
    assert make().partial_fit(X, y, classes=range(3)).temperature_ == 1.0
    assert make(cov_momentum=0.9).fit(X, y).temperature_ != 1.0


def test_stream_keeps_the_temperature_until_a_new_one_is_fitted(make, iris):
    X, y = iris
    clf = make().fit(X, y)
    fitted = clf.temperature_
    assert clf.partial_fit(X, y).temperature_ == fitted
    assert clf.set_params(temperature=3.0).partial_fit(X, y).temperature_ == 3.0


def test_scores_do_not_depend_on_the_temperature(make, iris):
    X, y = iris
    hot, cold = (make(temperature=t).fit(X, y) for t in (10.0, 0.1))
    np.testing.assert_array_equal(hot.score_samples(X), cold.score_samples(X))
    assert hot.ood_threshold_ == cold.ood_threshold_


# Distance awareness


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_epistemic_score_rises_to_one_far_from_the_data(make, load):
    X, y = load(return_X_y=True)
    clf = make(num_inducing=512, epochs=20).fit(X, y)
    radii = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 1e3, 1e6]
    scores = np.array(
        [clf.predict_uncertainty(far_rows(X, r), kind="epistemic") for r in radii]
    )
    assert (np.diff(scores.mean(axis=1)[:4]) > 0).all()
    assert scores[0].max() < 0.5
    assert scores[-2:].min() > 0.8
    # With random phases, the variance ratio is the fraction of unseen directions.
    left = clf.ridge_penalty_ * np.trace(np.linalg.inv(clf.posterior_.precision[0]))
    np.testing.assert_allclose(scores[-2:].mean(axis=1), left / 512, atol=0.01)
    assert clf.predict_ood(far_rows(X, 16.0)).mean() > 0.95
    assert clf.predict_ood(far_rows(X, 1e3)).all()
    assert clf.predict_proba(far_rows(X, 1e3)).max() < clf.predict_proba(X).max()


# Parameters that a stream cannot change


@pytest.mark.parametrize(
    "change",
    [
        {"cov_momentum": 0.5},
        {"covariance": "per_class", "inference": "monte_carlo"},
        {"ridge_penalty": 2.0},
        {"kernel_scale": 3.0},
        {"num_samples": 7},
    ],
    ids=lambda change: next(iter(change)),
)
def test_stream_continues_with_its_first_parameters(make, iris, change):
    X, y = iris
    clf = make(num_samples=5).fit(X, y)
    expected = clf.predict_proba(X)
    clf.set_params(**change)
    with pytest.raises(ValueError, match=rf"{next(iter(change))}.*warm_start=False"):
        clf.partial_fit(X, y)
    clf.set_params(**{name: make(num_samples=5).get_params()[name] for name in change})
    np.testing.assert_array_equal(clf.predict_proba(X), expected)
    clf.partial_fit(X, y)


@pytest.mark.slow
def test_moving_average_keeps_the_false_positive_rate(make):
    X, y = load_digits(return_X_y=True)
    flagged = []
    for seed in range(3):
        clf = make(
            cov_momentum=0.9, num_inducing=256, ood_alpha=0.1, random_state=seed
        ).fit(X[::2], y[::2])
        flagged.append(clf.predict_ood(X[1::2]).mean())
    # Three standard deviations of the 90 calibration and 898 new samples.
    assert np.mean(flagged) < 0.1 + 3 * 0.033 / np.sqrt(3)


# Scores of held-out samples


@pytest.mark.parametrize("form", [{}, SNGP_FORMS["per class"]], ids=["shared", "own"])
def test_held_out_samples_are_scored_by_all_others(make, iris, form):
    """The scores are those of posteriors without the sample and its duplicates."""
    X, y = iris
    clf = make(dtype="float64", **ALL_ROWS, **form).fit(X[::2], y[::2])
    chosen = np.append(np.arange(1, 20, 2), 1)  # the first one twice
    rows = Rows(
        clf.projection_(X[chosen], "float64"), y[chosen].astype(np.int32), np.ones(11)
    )
    found = clf._held_out_parts(X[chosen], rows, refit=True)
    assert found.shape == (11, 4)
    for index in range(11):
        others = (X[chosen] != X[chosen[index]]).any(axis=1)
        seen, left = (
            copy.copy(clf),
            Rows(*(part[others] for part in vars(rows).values())),
        )
        seen._update_posterior(left, from_prior=False)
        seen._update_distances(left)
        expected = seen._predict_valid(X[chosen[index : index + 1]], "ood parts")
        np.testing.assert_allclose(found[index], expected[0], rtol=1e-6)
    alone = clf._held_out_parts(X[chosen], rows, refit=False)
    assert (found[:, 1:3] < alone[:, 1:3]).all()  # other samples are nearby
