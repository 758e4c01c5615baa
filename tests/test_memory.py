"""Prediction holds memory flat in the number of rows."""

import numpy as np
import pytest

from benchmarks.timing import peak_memory

SETUP = """
import numpy as np
import sksngp

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 4))
rows = np.load({path!r}, mmap_mode="r")
rows.max()
classifier = sksngp.{name}(num_layers=1, num_hidden=64, epochs=1)
classifier.fit(X, X[:, 0] > 0).predict_uncertainty(rows[:10_000])
"""


@pytest.mark.parametrize(
    "name", ["MCDropoutClassifier", "DeepEnsembleClassifier", "SNGPClassifier"]
)
def test_memory_does_not_grow_with_rows(name, tmp_path):
    path = str(tmp_path / "rows.npy")
    rows = np.random.default_rng(0).normal(size=(100_000, 4)).astype(np.float32)
    np.save(path, rows)
    setup = SETUP.format(path=path, name=name)
    megabytes = peak_memory(setup, "classifier.predict_uncertainty(rows)")
    # The random features alone would take 400 MB, and the hidden representations of
    # ten networks 250 MB.
    assert 0 < megabytes < 100
