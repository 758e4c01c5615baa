from contextlib import contextmanager

import numpy as np
import pytest
from reference import forward, gradient
from scipy.special import log_softmax

from sksngp._data.rows import Rows
from sksngp._networks.dense_architecture import DenseArchitecture
from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow import network_pool, training
from sksngp._tensorflow.training import DivergenceError, train, validation_score

TINY = {"num_outputs": 3, "num_layers": 1, "num_hidden": 6, "dtype": "float64"}
NETWORKS = {
    "dense": {"num_layers": 2},
    "no hidden layer": {"num_layers": 0},
    "gp": {"num_inducing": 20, "num_layers": 2},
    "ensemble": {"members": 3},
}
every_network = pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)


def problem(n=37, seed=0, **changes):
    """Return an architecture, its weights, and samples with labels."""
    fields = {**TINY, "dropout": False, **changes}
    rng = np.random.default_rng(seed)
    weights = architecture_of(fields).initial_weights(
        rng, np.zeros(fields["num_outputs"])
    )
    members = fields.get("members", 1)
    projected = rng.normal(size=(n, 6) if members == 1 else (members, n, 6))
    labels = rng.integers(0, 3, size=n).astype(np.int32)
    return fields, weights, Rows(projected, labels, rng.uniform(0.2, 3, size=n))


LEARNING_RATE = 0.01


@contextmanager
def loaded(
    fields, weights, *, learning_rate=LEARNING_RATE, dropout_rate=0.0, bound=1e6
):
    with network_pool.lease(**fields) as compiled:
        compiled.load(
            weights, spec_norm_bound=bound, input_scale=0.7, dropout_rate=dropout_rate
        )
        compiled.load_optimizer(learning_rate)
        yield compiled


def run(fields, weights, rows, *, epochs=3, batch_size=8, seed=5, **kwargs):
    settings = {
        key: kwargs.pop(key)
        for key in ("learning_rate", "dropout_rate", "bound")
        if key in kwargs
    }
    rates = [settings.get("learning_rate", LEARNING_RATE)] * epochs
    with loaded(fields, weights, **settings) as compiled:
        return train(compiled, rows, rates, batch_size=batch_size, seed=seed, **kwargs)


def cross_entropy(weights, rows):
    """Compute the logits of each sample and ensemble member in float64."""
    logits = forward(weights, rows.projected, input_scale=0.7)[1]
    labels = np.broadcast_to(rows.labels, logits.shape[:-1])[..., None]
    return -np.take_along_axis(log_softmax(logits, axis=-1), labels, -1)[..., 0]


def member(arrays, index):
    """Return the weights of one ensemble member."""
    return {
        name: array[index, 0] if name.endswith("bias") else array[index]
        for name, array in arrays.items()
    }


def assert_weights_close(actual, expected, rtol=1e-10):
    for name, array in expected.items():
        np.testing.assert_allclose(
            actual[name], array, rtol=rtol, atol=rtol, err_msg=name
        )


def equal(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


# Reference implementations of optimizer steps


class SGD:
    """Compute a step with Nesterov momentum of 0.9."""

    def __init__(self):
        self.velocity = 0.0

    def __call__(self, w, g, rate):
        self.velocity = 0.9 * self.velocity - rate * g
        return w + 0.9 * self.velocity - rate * g


class Adam:
    """Compute a step of algorithm 1 of Kingma and Ba (2015), with its epsilon."""

    def __init__(self):
        self.step, self.first, self.second = 0, 0.0, 0.0

    def __call__(self, w, g, rate):
        self.step += 1
        self.first = 0.9 * self.first + 0.1 * g
        self.second = 0.999 * self.second + 0.001 * g**2
        rate *= np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
        return w - rate * self.first / (np.sqrt(self.second) + 1e-7)


class RMSprop:
    """Compute a step of Hinton's RMSprop with a discount factor of 0.9."""

    def __init__(self):
        self.second = 0.0

    def __call__(self, w, g, rate):
        self.second = 0.9 * self.second + 0.1 * g**2
        return w - rate * g / (np.sqrt(self.second) + 1e-7)


STEPS = {"sgd": SGD, "adam": Adam, "rmsprop": RMSprop}


def normalize_by_power_iteration(weights, bound):
    for name in [name for name in weights if name.endswith("/u")]:
        block = name.removesuffix("/u")
        kernel = weights[f"{block}/kernel"]
        v = weights[name] @ kernel.T
        v /= np.linalg.norm(v)
        u = v @ kernel
        u /= np.linalg.norm(u)
        sigma = (v @ kernel @ u.T).item()
        weights[f"{block}/u"], weights[f"{block}/v"] = u, v
        weights[f"{block}/kernel"] = kernel * min(1.0, bound / sigma)


@pytest.mark.parametrize(
    ("optimizer", "changes", "bound"),
    [
        ("adam", NETWORKS["dense"], 1e6),
        ("adam", NETWORKS["no hidden layer"], 1e6),
        ("adam", NETWORKS["gp"], 1e6),
        ("adam", NETWORKS["gp"], 0.5),
        ("rmsprop", NETWORKS["dense"], 1e6),
        ("sgd", NETWORKS["gp"], 0.5),
    ],
    ids=[
        "adam-dense",
        "adam-no hidden layer",
        "adam-gp",
        "adam-gp normalized",
        "rmsprop-dense",
        "sgd-gp normalized",
    ],
)
def test_full_batch_epochs_equal_reference_steps(changes, bound, optimizer):
    fields, weights, rows = problem(optimizer=optimizer, **changes)
    trained, history = run(
        fields, weights, rows, batch_size=len(rows.labels), bound=bound
    )
    expected = {name: array.copy() for name, array in weights.items()}
    importance = rows.weights / rows.weights.mean()
    steps, losses = {}, []
    for _ in range(3):
        normalize_by_power_iteration(expected, bound)
        losses.append(np.mean(importance * cross_entropy(expected, rows)))
        gradients = gradient(
            expected, rows.projected, rows.labels, importance, input_scale=0.7
        )
        for name, g in gradients.items():
            step = steps.setdefault(name, STEPS[optimizer]())
            expected[name] = step(expected[name], g, 0.01)
    # The optimizers round their learning rate and decay to float32.
    assert_weights_close(trained, expected, rtol=1e-6)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-6)
    assert history.loss[-1] < history.loss[0]


def test_weight_decay_alone_shrinks_the_output_weights():
    fields, weights, rows = problem(optimizer="sgd", num_layers=0, num_inducing=20)
    # The labels agree with saturated logits, so that the gradient is zero.
    weights["output/bias"] = np.array([1e4, 0.0, 0.0])
    rows = Rows(rows.projected, np.zeros_like(rows.labels), rows.weights)
    trained, _ = run(fields, weights, rows, epochs=1, batch_size=37, learning_rate=1e3)
    expected = weights["output/kernel"] * (1 - 1.9 * 1e3 * 2e-6)
    np.testing.assert_allclose(trained["output/kernel"], expected, rtol=1e-6)


def test_learning_rate_changes_without_a_new_network():
    fields, weights, rows = problem(optimizer="sgd")
    moved = [
        run(fields, weights, rows, epochs=1, batch_size=37, learning_rate=rate)[0]
        for rate in (0.01, 0.03)
    ]
    for name, array in weights.items():
        first, second = (trained[name] - array for trained in moved)
        np.testing.assert_allclose(second, 3 * first, rtol=1e-5, atol=1e-12)


# State of the optimizer


@pytest.mark.parametrize("optimizer", STEPS)
def test_optimizer_state_is_reset_at_the_start_and_included_in_dumps(optimizer):
    fields, weights, rows = problem(optimizer=optimizer)
    whole, history = run(fields, weights, rows, epochs=2, batch_size=37)
    halves = []
    with loaded(fields, weights) as compiled:
        for _ in range(2):
            halves.append(train(compiled, rows, [0.01], batch_size=37, seed=5))
            state = compiled.dump_optimizer()
            compiled.load_optimizer(0.5)  # another use in between
            compiled.load_optimizer(0.01, state)
    assert_weights_close(halves[1][0], whole)
    losses = [h.loss[0] for _, h in halves]
    np.testing.assert_allclose(losses, history.loss, rtol=1e-12)
    afresh, _ = run(fields, halves[0][0], rows, epochs=1, batch_size=37)
    assert not np.allclose(afresh["output/kernel"], whole["output/kernel"])


# Sample weights


@every_network
def test_unit_of_the_weights_does_not_matter(changes):
    fields, weights, rows = problem(**changes)
    expected, history = run(fields, weights, rows)
    for factor in (2.0**-40, 3e30):
        scaled = Rows(rows.projected, rows.labels, factor * rows.weights)
        trained, scaled_history = run(fields, weights, scaled)
        assert_weights_close(trained, expected)
        np.testing.assert_allclose(scaled_history.loss, history.loss, rtol=1e-10)


@every_network
def test_weight_is_repetition_in_full_batches(changes):
    fields, weights, rows = problem(**changes)
    counts = np.random.default_rng(1).integers(1, 4, size=len(rows.labels))
    weighted = Rows(rows.projected, rows.labels, counts.astype(float))
    repeated = Rows(
        np.repeat(rows.projected, counts, axis=-2),
        np.repeat(rows.labels, counts),
        np.ones(counts.sum()),
    )
    expected, history = run(fields, weights, repeated, batch_size=counts.sum())
    trained, weighted_history = run(fields, weights, weighted, batch_size=37)
    assert_weights_close(trained, expected, rtol=1e-9)
    np.testing.assert_allclose(weighted_history.loss, history.loss, rtol=1e-10)


# Shuffling


@every_network
@pytest.mark.parametrize("batch_size", [1, 8, 36, 37])
def test_every_sample_is_used_once_per_epoch(changes, batch_size):
    fields, weights, rows = problem(**changes)
    # With powers of two, each set of samples has a unique sum.
    rows = Rows(rows.projected, rows.labels, 2.0 ** np.arange(-18, 19))
    _, history = run(fields, weights, rows, batch_size=batch_size, learning_rate=0.0)
    importance = rows.weights / rows.weights.mean()
    expected = np.mean(importance * cross_entropy(weights, rows))
    np.testing.assert_allclose(history.loss, expected, rtol=1e-13)


# Dropout


def test_dropout_rate_zero_is_no_dropout():
    _, weights, rows = problem()
    expected, _ = run(problem()[0], weights, rows)
    trained, _ = run(problem(dropout=True)[0], weights, rows, dropout_rate=0.0)
    assert_weights_close(trained, expected, rtol=1e-12)


# Repeatability


@every_network
def test_equal_seeds_give_equal_weights(changes):
    fields, weights, rows = problem(dropout=True, dtype="float32", **changes)
    first, history = run(fields, weights, rows, dropout_rate=0.3)
    run(fields, weights, rows, seed=9, dropout_rate=0.8, learning_rate=1.0, bound=0.1)
    second, second_history = run(fields, weights, rows, dropout_rate=0.3)
    assert equal(first, second) and history == second_history
    third, _ = run(fields, weights, rows, dropout_rate=0.3, seed=6)
    assert not equal(first, third)


# Ensemble members


def test_members_with_equal_weights_train_as_the_single_network():
    fields, weights, rows = problem(optimizer="adam")
    single, history = run(fields, weights, rows, batch_size=37, epochs=5)
    stacked = {
        name: np.stack([w, w])[:, None] if name.endswith("bias") else np.stack([w, w])
        for name, w in weights.items()
    }
    both = Rows(np.stack([rows.projected] * 2), rows.labels, rows.weights)
    trained, stack_history = run(
        {**fields, "members": 2}, stacked, both, batch_size=37, epochs=5
    )
    for index in range(2):
        assert_weights_close(member(trained, index), single)
    np.testing.assert_allclose(stack_history.loss, history.loss, rtol=1e-12)


@pytest.mark.parametrize("batch_size", [8, 37])
def test_members_are_trained_independently(batch_size):
    fields, weights, rows = problem(members=2, dropout=True)
    first, _ = run(fields, weights, rows, batch_size=batch_size, dropout_rate=0.3)
    other = {name: array.copy() for name, array in weights.items()}
    for array in other.values():
        array[1] *= 3.0
    second, _ = run(fields, other, rows, batch_size=batch_size, dropout_rate=0.3)
    assert_weights_close(member(first, 0), member(second, 0), rtol=1e-12)
    assert not np.allclose(first["output/kernel"][1], second["output/kernel"][1])


# Early stopping and divergence


@pytest.mark.parametrize(
    ("scores", "patience", "epochs_run", "best"),
    [
        ([-3, -2, -1, -1.5, -1.2, -9, -0.1], 3, 6, 2),
        ([-3, -2, -1, -1.0, -1.0, -0.5], 2, 5, 2),  # a tie is not an improvement
        ([-1, -2, -3, -4], 1, 2, 0),
        ([-4, -3, -2, -1], 1, 4, 3),
        ([-2, -3, -1, -3, -0.5, -3], 2, 6, 4),
    ],
)
def test_early_stopping_returns_the_best_weights(
    monkeypatch, scores, patience, epochs_run, best
):
    fields, weights, rows = problem()
    after_epoch, left = [], iter(scores)

    def scripted(compiled, rows):
        after_epoch.append(compiled.dump())
        return next(left)

    monkeypatch.setattr(training, "validation_score", scripted)
    trained, history = run(
        fields, weights, rows, epochs=len(scores), validation=rows, patience=patience
    )
    assert len(history.loss) == epochs_run
    assert history.validation_score == scores[:epochs_run]
    assert equal(trained, after_epoch[best])
    assert not equal(after_epoch[best], after_epoch[best - 1])


@every_network
def test_returned_weights_have_the_best_recorded_score(changes):
    fields, weights, rows = problem(**changes)
    _, _, validation = problem(seed=1, **changes)
    trained, history = run(
        fields, weights, rows, epochs=60, learning_rate=0.1, validation=validation
    )
    assert len(history.loss) == len(history.validation_score) < 60
    with loaded(fields, trained) as compiled:
        score = validation_score(compiled, validation)
    assert score == max(history.validation_score)


@every_network
@pytest.mark.parametrize("chunk", [5, 8192])
def test_validation_score_is_the_mean_log_likelihood(changes, chunk, monkeypatch):
    fields, weights, rows = problem(**changes)
    monkeypatch.setattr(DenseArchitecture, "validation_chunk", chunk)
    with loaded(fields, weights) as compiled:
        score = validation_score(compiled, rows)
    likelihood = np.exp(-cross_entropy(weights, rows))
    if likelihood.ndim == 2:
        likelihood = likelihood.mean(axis=0)
    expected = np.average(np.log(likelihood), weights=rows.weights)
    assert score == pytest.approx(expected, rel=1e-10)


@every_network
def test_divergence_raises_an_error_and_the_network_remains_usable(changes):
    fields, weights, rows = problem(dtype="float32", optimizer="sgd", **changes)
    expected, _ = run(fields, weights, rows)
    with pytest.raises(DivergenceError, match=r"loss became .* Decrease learning_rate"):
        run(fields, weights, rows, epochs=20, learning_rate=1e38)
    assert equal(run(fields, weights, rows)[0], expected)


@every_network
def test_divergence_in_the_last_step_raises_an_error(changes):
    optimizer = "adam" if changes == NETWORKS["dense"] else "sgd"
    fields, weights, rows = problem(dtype="float32", optimizer=optimizer, **changes)
    with pytest.raises(DivergenceError, match=r"weights \S+ are .* learning_rate"):
        run(fields, weights, rows, epochs=1, batch_size=37, learning_rate=np.inf)


# Progress


def test_progress_shows_loss_and_validation_score(capsys):
    fields, weights, rows = problem()
    run(fields, weights, rows, validation=rows)
    assert capsys.readouterr() == ("", "")
    _, history = run(fields, weights, rows, validation=rows, verbose=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"loss={history.loss[-1]:.4f}" in shown.err
    assert f"validation={history.validation_score[-1]:.4f}" in shown.err


def test_progress_counts_the_epoch_that_stops_training(capsys, monkeypatch):
    scores = iter([-1.0, -2.0, -3.0, -4.0])
    monkeypatch.setattr(training, "validation_score", lambda *_: next(scores))
    fields, weights, rows = problem()
    run(fields, weights, rows, epochs=9, validation=rows, patience=2, verbose=True)
    assert "3/9" in capsys.readouterr().err


def test_progress_in_a_file_has_no_carriage_returns(tmp_path, monkeypatch):
    fields, weights, rows = problem()
    log = tmp_path / "log"
    with log.open("w") as stream, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", stream)
        run(fields, weights, rows, epochs=20, verbose=True)
    content = log.read_bytes()
    assert b"20/20" in content and b"\r" not in content
