import numpy as np
import pytest
import tensorflow as tf
from reference import forward
from test_training import every_network, problem

from sksngp._data.rows import Rows
from sksngp._networks.kinds import architecture_of
from sksngp._tensorflow import member_groups, network_pool
from sksngp._tensorflow.compiled_network import CompiledNetwork
from sksngp._tensorflow.member_groups import StackedMembers
from sksngp._tensorflow.residual_network import _kept
from sksngp._uncertainty.posterior import add_rows, factorize, prior_precision

# Loading


@every_network
def test_loading_the_same_arrays_again_does_nothing(changes, monkeypatch):
    fields, weights, rows = problem(**changes)
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights, dropout_rate=0.0, input_scale=0.7)
        expected = forward(weights, rows.projected, input_scale=0.7)[1]
        with monkeypatch.context() as patch:
            patch.setattr(type(compiled.networks[0]), "load", lambda *_: pytest.fail())
            compiled.load(weights, dropout_rate=0.0, input_scale=0.7)
        outputs = compiled.forward(rows.projected)
    logits = outputs[0] if isinstance(outputs, list | tuple) else outputs
    np.testing.assert_allclose(logits, expected, rtol=1e-9)


def test_changed_arrays_scalars_and_training_reload_weights():
    fields, weights, rows = problem(num_inducing=20)
    data = rows.projected, rows.labels, rows.weights
    with network_pool.lease(**fields) as compiled:

        def logits(arrays, scale):
            compiled.load(arrays, dropout_rate=0.0, input_scale=scale)
            return compiled.forward(rows.projected)[0].numpy()

        first = logits(weights, 0.7)
        doubled = {name: 2 * array for name, array in weights.items()}
        assert not np.allclose(logits(doubled, 0.7), first)
        assert not np.allclose(logits(weights, 0.8), first)
        logits(weights, 0.7)
        compiled.load_optimizer(0.1)
        compiled.epoch(*map(tf.constant, data), 8, 5, 0)
        np.testing.assert_array_equal(logits(weights, 0.7), first)


def test_only_arrays_that_the_network_does_not_hold_are_assigned(monkeypatch):
    fields, weights, rows = problem(num_inducing=20)
    variables = {"dropout_rate": 0.0, "input_scale": 0.7}
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights, **variables)
        compiled.load_optimizer(0.1)
        compiled.epoch(rows.projected, rows.labels, rows.weights, 8, 5, 0)
        trained = compiled.dump()
        expected = compiled.forward(rows.projected)[0].numpy()
        with monkeypatch.context() as patch:
            patch.setattr(type(compiled.networks[0]), "load", lambda *_: pytest.fail())
            compiled.load(dict(trained), **variables)
        compiled.load({**trained, "output/bias": trained["output/bias"] + 1})
        moved = compiled.forward(rows.projected)[0].numpy()
        np.testing.assert_allclose(moved, expected + 1, rtol=1e-6)
        bounded = compiled.bounded(trained, 1e-3)
        compiled.load(trained)
        np.testing.assert_array_equal(compiled.forward(rows.projected)[0], expected)
        compiled.load(bounded)
        assert not np.allclose(compiled.forward(rows.projected)[0], expected)


def test_an_optimizer_that_was_used_is_restored():
    fields, weights, rows = problem()
    data = rows.projected, rows.labels, rows.weights
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights, dropout_rate=0.0)
        compiled.load_optimizer(0.1)
        compiled.epoch(*data, 8, 5, 0)
        state = compiled.dump_optimizer()
        copies = [np.array(array) for array in state]
        compiled.epoch(*data, 8, 5, 1)
        compiled.load_optimizer(0.1, state)
        for array, before in zip(compiled.dump_optimizer(), copies, strict=True):
            np.testing.assert_array_equal(array, before)


# Member groups


@pytest.mark.parametrize(
    ("members", "threads", "sizes"),
    [(1, 2, [1]), (2, 2, [2]), (3, 8, [3]), (5, 2, [3, 2]), (10, 4, [3, 3, 2, 2])],
)
def test_stacks_part_the_members(monkeypatch, members, threads, sizes):
    monkeypatch.setattr(member_groups, "num_threads", lambda: threads)
    stacked = StackedMembers(members)
    assert stacked.sizes == sizes
    parts = [np.arange(members)[group] for group in stacked.groups]
    assert [len(part) for part in parts] == sizes
    assert np.concatenate(parts).tolist() == list(range(members))


def test_result_does_not_depend_on_the_number_of_member_groups(monkeypatch):
    fields, weights, rows = problem(members=5, dropout=True, num_layers=2)
    data = [tf.constant(a) for a in (rows.projected, rows.labels, rows.weights)]
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(member_groups, "num_threads", lambda n=threads: n)
        compiled = CompiledNetwork(architecture_of(fields))
        assert len(compiled.networks) == threads
        compiled.load(weights, dropout_rate=0.3)
        compiled.load_optimizer(0.01)
        loss = [compiled.epoch(*data, 8, 5, number) for number in range(2)]
        state = compiled.dump_optimizer()
        compiled.load_optimizer(0.5)
        compiled.load_optimizer(0.01, state)
        loss.append(compiled.epoch(*data, 8, 5, 2))
        results.append((loss, compiled.dump(), compiled.dump_optimizer()))
    (loss, dump, state), (other_loss, other_dump, other_state) = results
    np.testing.assert_allclose(other_loss, loss, rtol=1e-12)
    for name, array in dump.items():
        np.testing.assert_allclose(other_dump[name], array, rtol=1e-9, atol=1e-12)
    for first, second in zip(state, other_state, strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-9, atol=1e-12)


# Prediction


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("num_inducing", [20, 256, 300])
def test_norms_of_whitened_features_are_the_posterior_variance(num_inducing, groups):
    fields, weights, rows = problem(num_inducing=num_inducing)
    features = forward(weights, rows.projected, input_scale=0.7)[2]
    importance = np.random.default_rng(0).uniform(size=(37, groups))
    start = prior_precision(num_inducing, 0.1, groups)
    chunks = [(features, importance)]
    fitted = factorize(add_rows(start, chunks), 0.1)
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights, input_scale=0.7)
        found = compiled.whitened_norms(rows.projected, fitted.whitening)
        hidden = compiled.hidden(rows.projected).numpy()
    _, squares, norms, found_hidden = found
    np.testing.assert_array_equal(found_hidden, hidden)
    np.testing.assert_allclose(squares, np.square(features).sum(axis=1), rtol=1e-10)
    for group in range(groups):
        precision = 0.1 * np.eye(num_inducing)
        precision += (features * importance[:, [group]]).T @ features
        expected = np.diag(features @ np.linalg.solve(precision, features.T))
        np.testing.assert_allclose(norms[:, group], expected, rtol=1e-8)


@pytest.mark.parametrize("rank", [1, 150])
def test_low_rank_norms(rank):
    fields, weights, rows = problem(num_inducing=300)
    _, logits, features = forward(weights, rows.projected, input_scale=0.7)
    factor = np.random.default_rng(0).normal(size=(300, rank))
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights, input_scale=0.7)
        found = compiled.low_rank_norms(rows.projected, factor)
    np.testing.assert_allclose(found[0], logits, rtol=1e-9)
    np.testing.assert_allclose(found[1], np.square(features).sum(axis=1), rtol=1e-10)
    expected = np.square(features @ factor).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found[2], expected, rtol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [{}, {"num_inducing": 1024}, {"members": 4}, {"num_layers": 6, "num_outputs": 10}],
)
def test_predictions_do_not_depend_on_the_block_size(changes):
    """For these block sizes, products add their terms in the same order."""
    fields = {**problem(**changes)[0], "dtype": "float32", "num_hidden": 128}
    rng = np.random.default_rng(0)
    weights = architecture_of(fields).initial_weights(
        rng, np.zeros(fields["num_outputs"])
    )
    members = fields.get("members", 1)
    projected = rng.normal(size=(1024, 128) if members == 1 else (members, 1024, 128))
    projected = projected.astype(np.float32)
    whitening = np.triu(rng.normal(size=(1, 1024, 1024)))
    with network_pool.lease(**fields) as compiled:
        compiled.load(weights, input_scale=0.1)

        def outputs(block):
            if "num_inducing" in fields:
                return compiled.whitened_norms(block, whitening)
            return [compiled.forward(block).numpy()]

        whole = outputs(projected)
        for size in (64, 256):
            for start in range(0, 1024, size):
                part = slice(start, start + size)
                for ours, all_rows in zip(
                    outputs(projected[..., part, :]), whole, strict=True
                ):
                    of_part = (
                        all_rows[part] if ours.ndim == 1 else all_rows[..., part, :]
                    )
                    np.testing.assert_array_equal(ours, of_part)


# Shuffling


def batches(monkeypatch, compiled, rows, *, batch_size, seed=5, numbers=(0, 1, 2)):
    """Return the samples of each mini-batch of each epoch, without compilation."""
    seen = []
    monkeypatch.setattr(
        compiled.optimization,
        "_step",
        lambda batch, *_: seen.append(batch.numpy()) or 0.0,
    )
    weights, steps = tf.constant(rows.weights), -(-len(rows.labels) // batch_size)
    for number in numbers:
        compiled._epoch(rows.projected, rows.labels, weights, steps, seed, number)
    return seen


@pytest.mark.parametrize("members", [1, 3])
def test_epochs_are_permutations_that_differ(monkeypatch, members):
    fields, _, rows = problem(members=members)
    with network_pool.lease(**fields) as compiled, monkeypatch.context() as patch:
        seen = batches(patch, compiled, rows, batch_size=8)
        other_seed = batches(patch, compiled, rows, batch_size=8, seed=6)
    assert [batch.shape[-2] for batch in seen] == [8, 8, 7, 7, 7] * 3
    epochs = [np.concatenate(seen[i : i + 5], axis=-2) for i in (0, 5, 10)]
    epochs.append(np.concatenate(other_seed[:5], axis=-2))
    orders = [
        np.argmax((epoch[..., None, :] == rows.projected[..., None, :, :]).all(-1), -1)
        for epoch in epochs
    ]
    orders = np.concatenate([order.reshape(members, 37) for order in orders])
    np.testing.assert_array_equal(
        np.sort(orders), np.tile(np.arange(37), (len(orders), 1))
    )
    assert len(np.unique(orders, axis=0)) == 4 * members


def test_no_random_value_is_used_twice(monkeypatch):
    fields, _, rows = problem(dropout=True)
    keys, uniform = [], tf.random.stateless_uniform

    def record(shape, seed, **kwargs):
        keys.append(tuple(np.asarray(seed)))
        return uniform(shape, seed, **kwargs)

    with network_pool.lease(**fields) as compiled, monkeypatch.context() as patch:
        patch.setattr(tf.random, "stateless_uniform", record)
        batches(patch, compiled, rows, batch_size=8)
    assert len(keys) == 3 * (1 + 2 * 5)
    assert len(set(keys)) == len(keys)


def test_each_position_is_equally_likely(monkeypatch):
    """Test the counts of each sample at each position with a chi-squared statistic."""
    fields, _, _ = problem(members=3)
    projected = np.tile(np.arange(10.0)[:, None], (3, 1, 6))
    rows = Rows(projected, np.zeros(10, int), np.ones(10))
    with network_pool.lease(**fields) as compiled, monkeypatch.context() as patch:
        seen = batches(patch, compiled, rows, batch_size=10, numbers=range(100))
    places = np.concatenate([batch[..., 0] for batch in seen])
    assert places.shape == (300, 10)
    counts = [np.bincount(place.astype(int), minlength=10) for place in places.T]
    # For permutations, 9/10 of the sum follows a chi-squared distribution.
    statistic = 0.9 * np.sum((np.array(counts) - 30) ** 2 / 30)
    degrees = 9**2
    assert abs(statistic - degrees) < 4 * np.sqrt(2 * degrees)


# Dropout


def draw_masks(fields, shape, rate, keys):
    """Return the dropout masks of each seed and step, True for units that are kept."""
    with network_pool.lease(**fields) as compiled:
        compiled.load(problem(**fields)[1], dropout_rate=rate)
        draws = [
            compiled.optimization.dropout_draws(tf.constant(shape), *key)
            for key in keys
        ]
    return [_kept(*each, tf.float32).numpy() > 0 for each in draws]


@pytest.mark.parametrize(
    ("shape", "rate"),
    [
        *(((4000,), rate) for rate in (0.0, 1e-3, 0.1, 0.5, 0.9, 0.999)),
        *(((3, 1000), rate) for rate in (0.1, 0.999)),
    ],
)
def test_a_unit_is_dropped_at_the_rate(shape, rate):
    fields = problem(dropout=True, members=1 if len(shape) == 1 else 3, num_layers=2)[0]
    kept = draw_masks(fields, shape, rate, [(1, step) for step in range(60)])
    assert kept[0].shape == (*shape[:-1], 2, shape[-1], 6)
    dropped = 1 - np.array([mask.mean() for mask in kept])
    # The rate of a step is rounded to a multiple of 1/256.
    size = kept[0].size
    deviation = np.sqrt((rate * (1 - rate) / size + (0.5 / 256) ** 2) / len(kept))
    assert dropped.mean() == pytest.approx(rate, abs=5 * deviation)


def test_masks_repeat_with_their_key_only():
    fields = problem(dropout=True)[0]
    keys = [(1, 1), (1, 1), (1, 2), (2, 1)]
    first, again, later, reseeded = draw_masks(fields, (4000,), 0.3, keys)
    np.testing.assert_array_equal(first, again)
    for other in (later, reseeded):
        assert 0.05 < np.mean(~first & ~other) < 0.13  # 0.09 if they are independent


def test_masks_of_blocks_members_rows_and_units_are_independent():
    fields = problem(dropout=True, members=2, num_layers=2)[0]
    (kept,) = draw_masks(fields, (2, 9000), 0.5, [(1, 1)])
    kept = kept.transpose(0, 1, 3, 2).reshape(-1, 9000)
    correlation = np.corrcoef(kept) - np.eye(len(kept))
    assert np.abs(correlation).max() < 5 / np.sqrt(9000)
    within = np.corrcoef(kept[:, :-1].ravel(), kept[:, 1:].ravel())[0, 1]
    assert abs(within) < 5 / np.sqrt(kept.size)
