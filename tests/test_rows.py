import numpy as np

from sksngp._data.rows import Rows, add_sums, concatenate


def rows(start, stop):
    numbers = np.arange(start, stop)
    return Rows(numbers[:, None] * [1.0, 10.0], numbers.astype(np.int32), 2.0 * numbers)


def test_rows_in_memory_are_one_shuffle_buffer():
    held = rows(0, 50)
    assert list(held.shuffle_buffers(np.random.default_rng(0))) == [held]
    assert held.sum_over_samples(lambda part: (part.projected.sum(),)) == (
        11 * 49 * 25,
    )


def test_concatenated_parts_are_the_whole():
    whole, parts = rows(0, 9), [rows(0, 2), rows(2, 7), rows(7, 9)]
    for name, array in vars(whole).items():
        np.testing.assert_array_equal(getattr(concatenate(parts), name), array)
    assert concatenate(parts[:1]) is parts[0]


def test_members_are_concatenated_along_samples():
    parts = [Rows(np.zeros((3, n, 2)), np.zeros(n), np.ones(n)) for n in (4, 5)]
    assert concatenate(parts).projected.shape == (3, 9, 2)


def test_chunks_stay_within_the_budget():
    chunks = list(rows(0, 10).chunks(1, size=4))
    assert [part for _, part in chunks] == [slice(0, 4), slice(4, 8), slice(8, 10)]
    np.testing.assert_array_equal(chunks[1][0], rows(4, 8).projected)


def test_sums_are_added_element_by_element():
    assert add_sums((1, 2.0), (10, 20.0)) == (11, 22.0)
