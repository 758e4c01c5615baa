import gzip

import numpy as np
import pytest

from sksngp._data.idx_files import read_idx


def test_array_is_read_and_writable(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    header = bytes([0, 0, 8, 3]) + np.array(array.shape, ">u4").tobytes()
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(header + array.tobytes()))
    found = read_idx(path, n_dimensions=3)
    np.testing.assert_array_equal(found, array)
    found[0] = 0
    with pytest.raises(
        ValueError, match="must be an idx file of bytes with 2 dimension"
    ):
        read_idx(path, n_dimensions=2)
