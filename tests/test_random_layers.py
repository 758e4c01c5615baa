import numpy as np
import pytest
import tensorflow as tf

from sksngp._tensorflow.random_layers import Dropout, ShiftAndFlip

SEED = tf.constant([3, 4])


def seeded(layer, seed=SEED, place=0, for_all_rows=False):
    layer.seed, layer.place, layer.for_all_rows = seed, place, for_all_rows
    return layer


# Dropout


def test_dropout_mask_derives_from_the_seed():
    layer, rows = Dropout(0.3), tf.ones((200, 50))
    assert layer(rows) is rows
    dropped = seeded(layer)(rows).numpy()
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.7)}
    assert np.mean(dropped == 0) == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(dropped, layer(rows))
    assert not np.array_equal(seeded(layer, tf.constant([3, 5]))(rows), dropped)


def test_all_samples_share_a_dropout_mask():
    dropped = seeded(Dropout(0.3), for_all_rows=True)(tf.ones((200, 50))).numpy()
    assert (dropped == dropped[0]).all() and 0 < np.mean(dropped == 0) < 1


def test_dropout_layers_are_independent_and_support_noise_shapes():
    rows = tf.ones((50, 4, 4, 6))
    first, second = seeded(Dropout(0.5)), seeded(Dropout(0.5), place=1)
    assert not np.array_equal(first(rows), second(rows))
    channels = seeded(Dropout(0.5, noise_shape=(None, 1, 1, None)))
    whole = channels(rows).numpy()
    assert (whole == whole[:, :1, :1]).all() and 0 < whole.mean() < 2


# Augmentation of images


def places(image, height=6, width=5, margins=(2, 1)):
    """Return all moves (down, aside, mirrored) that result in an image."""
    whole = np.arange(1.0, height * width + 1).reshape(height, width)
    padded = np.pad(whole, [(margin, margin) for margin in margins])
    return [
        (down, aside, mirrored)
        for down in range(2 * margins[0] + 1)
        for aside in range(2 * margins[1] + 1)
        for mirrored in (False, True)
        if np.array_equal(
            image,
            padded[down : down + height, aside : aside + width][
                :, :: -1 if mirrored else 1
            ],
        )
    ]


def test_images_are_shifted_with_zero_padding_and_flipped():
    numbers = np.arange(1.0, 31).reshape(1, 6, 5, 1).astype(np.float32)
    images = np.concatenate([np.tile(numbers, (400, 1, 1, 1)), -numbers[[0] * 400]])
    moved = seeded(ShiftAndFlip((2, 1)))(images).numpy()
    found = [places(np.abs(image[..., 0])) for image in moved]
    assert {len(moves) for moves in found} == {1}
    assert (
        np.sign(moved).sum(axis=(1, 2, 3))[:400] > 0
    ).all()  # each channel has its own pixels
    assert (np.sign(moved).sum(axis=(1, 2, 3))[400:] < 0).all()
    down, aside, mirrored = np.array([moves[0] for moves in found]).T
    for shifts, size in ((down, 5), (aside, 3)):
        shares = np.bincount(shifts, minlength=size) / len(images)
        np.testing.assert_allclose(shares, 1 / size, atol=0.06)
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.06)


def test_channels_are_shifted_together():
    images = np.random.default_rng(0).normal(size=(9, 4, 4, 1)).astype(np.float32)
    moved = seeded(ShiftAndFlip((1, 1)))(np.concatenate([images, 2 * images], axis=3))
    np.testing.assert_allclose(moved[..., 1], 2 * moved[..., 0])


def test_images_are_augmented_only_in_training():
    layer, images = ShiftAndFlip((1, 1)), tf.ones((3, 4, 4, 1))
    assert layer(images) is images
    assert seeded(layer, for_all_rows=True)(images) is images
