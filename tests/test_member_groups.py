import numpy as np
import pytest
import tensorflow as tf

from sksngp._tensorflow import member_groups
from sksngp._tensorflow.member_groups import SeparateMembers, StackedMembers


@pytest.fixture(params=[StackedMembers, SeparateMembers])
def groups(request, monkeypatch):
    monkeypatch.setattr(member_groups, "num_threads", lambda: 2)
    return request.param(5)


def test_arrays_survive_division(groups):
    weights = {"kernel": np.arange(10.0).reshape(5, 2)}
    joined = groups.join_all(groups.split_weights(weights))
    np.testing.assert_array_equal(joined["kernel"], weights["kernel"])
    parts = groups.split_array(weights["kernel"])
    np.testing.assert_array_equal(groups.join(parts), weights["kernel"])
    steps = groups.join([np.array(7)] * len(groups.groups))
    assert all(step == 7 for step in groups.split_array(steps))


def test_outputs_have_an_axis_of_members():
    samples = tf.reshape(tf.range(5 * 3 * 2.0), (5, 3, 2))
    stacked = StackedMembers(5)
    double = [lambda part: 2.0 * part] * len(stacked.groups)
    np.testing.assert_array_equal(stacked.apply(double, samples), 2.0 * samples)
    separate = SeparateMembers(3)
    scale = [lambda part, k=k: k * part for k in range(3)]
    np.testing.assert_array_equal(
        separate.apply(scale, samples[0]), np.arange(3.0)[:, None, None] * samples[0]
    )


@pytest.mark.parametrize("kind", [StackedMembers, SeparateMembers])
def test_one_member_receives_whole_batches(kind):
    batch = tf.ones((4, 2))
    assert kind(1).split_batch(batch)[0] is batch
    assert kind(1).split_batch(None) == [None]
