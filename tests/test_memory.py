"""Prediction holds memory flat in the number of rows."""

import json
import subprocess
import sys

PROGRAM = """
import json
import resource
import sys
import numpy as np
import sksngp

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 4))
rows = np.lib.format.open_memmap(sys.argv[1], "w+", np.float32, (100_000, 4))
rows[:] = rng.normal(size=rows.shape)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


growth = {}
for name in ("MCDropoutClassifier", "DeepEnsembleClassifier", "SNGPClassifier"):
    classifier = getattr(sksngp, name)(num_layers=1, num_hidden=64, epochs=1)
    classifier.fit(X, X[:, 0] > 0).predict_uncertainty(rows[:10_000])
    before = peak()
    classifier.predict_uncertainty(rows)
    growth[name] = peak() - before
print(json.dumps(growth))
"""


def test_memory_does_not_grow_with_rows(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "rows.npy")],
        capture_output=True,
        text=True,
        check=True,
    )
    # For ten times the rows, the random features alone would take 800 MB more, and
    # the hidden representations of ten networks 460 MB.
    assert all(megabytes < 100 for megabytes in json.loads(done.stdout).values())
