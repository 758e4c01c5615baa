"""
Prediction sets with MAPIE
==========================

Some digits can be read in two ways. A prediction set contains all classes that a digit
may have. It contains the true class with a given probability, which is 99% in this
example. MAPIE computes such sets for any scikit-learn classifier, including those of
this package. Sets and flags answer different questions: a set specifies *which* of the
known classes are possible, and a flag indicates that a sample may belong to none of
them.

Requires MAPIE: ``pip install mapie``. Run: ``python prediction_sets.py``
"""

import numpy as np
from mapie.classification import SplitConformalClassifier
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sksngp import SNGPClassifier
from sksngp.datasets import hold_out_classes

# %%
# Two of the ten digits are absent from training. Some samples of the others are used to
# calibrate the sets and the flags.

data = hold_out_classes(*load_digits(return_X_y=True), [4, 7], random_state=0)
X_train, X_known, y_train, y_known = train_test_split(
    data.X_train, data.y_train, test_size=300, random_state=0
)
clf = SNGPClassifier(num_layers=2, cv=None, random_state=0).fit(X_train, y_train)
clf.calibrate_ood(X_known)
mapie = SplitConformalClassifier(clf, confidence_level=0.99, prefit=True)
mapie.conformalize(X_known, y_known)

# %%
# Known digits
# ------------

labels, sets = mapie.predict_set(data.X_test)
sets = sets[:, :, 0]  # those of the first confidence level
covered = sets[np.arange(len(sets)), np.searchsorted(clf.classes_, data.y_test)]
print(f"{covered.mean():.1%} of the sets contain the true class")
for size, count in zip(*np.unique(sets.sum(axis=1), return_counts=True), strict=True):
    print(f"{count} sets of {size} classes")

# %%
# Unseen digits
# -------------
#
# No set contains the unseen classes, so that there is no guarantee for their samples.
# Evaluate the flags first, and the sets of samples that are not flagged.

_, sets = mapie.predict_set(data.X_ood)
flags = clf.predict_ood(data.X_ood)
single = sets[:, :, 0].sum(axis=1) == 1
print(f"{single.mean():.0%} of unseen digits have a set of 1 class")
print(f"{flags.mean():.0%} of unseen digits are flagged")
print(f"{clf.predict_ood(data.X_test).mean():.0%} of known digits are flagged")
