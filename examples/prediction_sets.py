"""
Prediction sets with MAPIE
==========================

Some digits can be read in two ways. A prediction set lists all classes that a digit may
have, and contains the true one with a stated probability, 99% here. MAPIE builds such
sets on top of any scikit-learn classifier, and so on top of this one. They answer
another question than flags: a set says *which* of the known classes is possible, a flag
says that a sample may have none of them.

Requires MAPIE: ``pip install mapie``. Run: ``python prediction_sets.py``
"""

import numpy as np
from mapie.classification import SplitConformalClassifier
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sksngp import SNGPClassifier
from sksngp.datasets import hold_out_classes

# %%
# Two of ten digits are absent from training. Of the others, a part is left for the
# calibration of the sets.

data = hold_out_classes(*load_digits(return_X_y=True), [4, 7], random_state=0)
X_train, X_known, y_train, y_known = train_test_split(
    data.X_train, data.y_train, test_size=300, random_state=0
)
clf = SNGPClassifier(num_layers=2, cv=None, random_state=0).fit(X_train, y_train)
clf.calibrate_ood(X_known)
mapie = SplitConformalClassifier(clf, confidence_level=0.99, prefit=True)
mapie.conformalize(X_known, y_known)

# %%
# Sets of known digits
# --------------------

labels, sets = mapie.predict_set(data.X_test)
sets = sets[:, :, 0]  # of the first confidence level
covered = sets[np.arange(len(sets)), np.searchsorted(clf.classes_, data.y_test)]
print(f"{covered.mean():.1%} of the sets contain the true class")
for size, count in zip(*np.unique(sets.sum(axis=1), return_counts=True), strict=True):
    print(f"{count} sets of {size} classes")

# %%
# Unknown digits
# --------------
#
# Fours and sevens are in no set, as they are in no class: no method can promise
# anything about them. Look at the flags first, and at the sets of what is not flagged.

_, sets = mapie.predict_set(data.X_ood)
flags = clf.predict_ood(data.X_ood)
print(
    f"{(sets[:, :, 0].sum(axis=1) == 1).mean():.0%} of unknown digits have a set of 1"
)
print(f"{flags.mean():.0%} of unknown digits are flagged")
print(f"{clf.predict_ood(data.X_test).mean():.0%} of known digits are flagged")
