"""Write the file of the present format, with what its model predicts."""

import json
from pathlib import Path

from sklearn.datasets import load_iris

from sksngp import SNGPClassifier, _sngp_distances
from sksngp.persistence import FORMAT, save

_sngp_distances.INPUT_FEATURES = 32  # a small file
_sngp_distances.HIDDEN_FEATURES = 16
X, y = load_iris(return_X_y=True)
clf = SNGPClassifier(
    num_layers=1, num_hidden=8, num_inducing=16, epochs=5, random_state=0
).fit(X, y)
folder = Path(__file__).parent
save(clf, folder / f"format-{FORMAT}.sksngp")
predicted = {
    "proba": clf.predict_proba(X[::10]).tolist(),
    "pvalue": clf.ood_pvalue(X[::10]).tolist(),
}
(folder / f"format-{FORMAT}.json").write_text(json.dumps(predicted))
