"""
Monitoring a deployed classifier
================================

A deployed classifier of tumors raises several questions. Which cases should it decide
itself? Which cases differ from the training data, and why? Has the distribution of the
measurements changed? This example answers the questions for measured data of 569
patients.

Run: ``python monitor.py [--output FILE.png]``
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sksngp import (
    DriftMonitor,
    SNGPClassifier,
    control_false_discoveries,
    fewest_discoveries,
)
from sksngp.inspection import DriftDisplay, OODExplanationDisplay
from sksngp.metrics import risk_coverage_curve

parser = argparse.ArgumentParser(description="Monitor a classifier of tumors.")
parser.add_argument("--output", metavar="FILE", help="save the figure to this file")
output = parser.parse_args().output

REFERRAL = 1.0  # cost of a referral
WRONG = 20.0  # cost of a wrong decision

# %%
# Training
# --------
#
# The data are divided into three parts. The classifier is trained on the first part.
# The second part calibrates the flags, which requires no labels, and determines which
# cases are referred. The cases of the third part arrive later, one by one.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X, X_rest, y, y_rest = train_test_split(X, y, train_size=190, random_state=0)
X_known, X_new, y_known, y_new = train_test_split(
    X_rest, y_rest, train_size=190, random_state=0
)
clf = SNGPClassifier(ood_alpha=0.05, random_state=0).fit(X, y).calibrate_ood(X_known)

# %%
# Referrals
# ---------
#
# A wrong decision costs as much as 20 referrals. Cases are referred to an expert if
# their uncertainty exceeds a limit. The limit minimizes the mean cost of the second
# part.

uncertainty = clf.predict_uncertainty(X_known)
coverage, risk = risk_coverage_curve(clf.predict(X_known) == y_known, uncertainty)
cost = (1 - coverage) * REFERRAL + coverage * risk * WRONG
limit = np.sort(uncertainty)[round(coverage[cost.argmin()] * len(X_known)) - 1]

refer = clf.predict_uncertainty(X_new) > limit
wrong = (clf.predict(X_new) != y_new) & ~refer
print(
    f"{refer.mean():.0%} of the new cases are referred, "
    f"{wrong.sum()} decisions are wrong"
)
print(
    f"cost per case: {(REFERRAL * refer.sum() + WRONG * wrong.sum()) / len(X_new):.2f}"
    f" (all cases referred: {REFERRAL:.2f})"
)

# %%
# Unusual cases
# -------------
#
# ``predict_ood`` flags about 5% of the in-distribution cases. Many flags of a batch can
# therefore be false. ``control_false_discoveries`` bounds the fraction of false flags
# among all flags instead. ``fewest_discoveries`` returns how many unusual cases are
# required for a flag, given the sizes of the batch and of the calibration set.

flags = clf.predict_ood(X_new)
discoveries = control_false_discoveries(clf.ood_pvalue(X_new), rate=0.2)
fewest = fewest_discoveries(len(X_new), len(clf.ood_scores_), rate=0.2)
print(f"{flags.sum()} of {len(X_new)} new cases are flagged")
print(
    f"{discoveries.sum()} are flagged at a false discovery rate of 20%, which requires "
    f"at least {fewest} unusual cases"
)

# %%
# Explanations
# ------------
#
# Explanations of the three most unusual cases. Each bar is the contribution of a
# measurement to the OOD score.

most_unusual = clf.score_samples(X_new).argsort()[:3]
found = clf.explain_ood(X_new.iloc[most_unusual], X)
contributions = found.to_frame()  # a column for each measurement
figure, axes = plt.subplots(2, 2, figsize=(13, 8), layout="constrained")
for sample, ax in enumerate(axes.flat[:3]):
    OODExplanationDisplay.from_explanation(found, sample=sample, max_features=6, ax=ax)
    largest = contributions.iloc[sample].nlargest(2)
    print(f"case {largest.name}: {', '.join(largest.index)}")
    nearest = found.neighbors[sample]
    print(f"  nearest training cases: {X.index[nearest].tolist()}")

# %%
# Drift
# -----
#
# From the 80th new case on, the values of the instrument that measures smoothness
# increase with each case. Single flags are weak evidence of such a change, because one
# of 20 cases is flagged without any change. The drift monitor accumulates evidence.
# Without a change, its value reaches 100 in at most one of 100 streams, however long
# they are.

drifting = X_new.copy()
step = 0.05 * X["mean smoothness"].std()
drifting["mean smoothness"] += step * np.maximum(np.arange(len(X_new)) - 80, 0)

stable = DriftMonitor(clf.ood_scores_, random_state=0)
stable.update(-clf.score_samples(X_new))
monitor = DriftMonitor(clf.ood_scores_, random_state=0)
for number in range(len(drifting)):  # case by case, as they arrive
    case = drifting.iloc[[number]]
    if monitor.update(-clf.score_samples(case)).alarm_:
        break
print(f"without drift: {'alarm' if stable.alarm_ else 'no alarm'}")
print(f"with drift: alarm at case {monitor.alarm_at_}")
display = DriftDisplay.from_monitor(monitor, ax=axes[1, 1], label="with drift")
axes[1, 1].plot(stable.values_, color="gray", label="without drift")
axes[1, 1].legend()

# %%
# Explanations of the cases before the alarm indicate which measurement has changed.

latest = drifting.iloc[monitor.alarm_at_ - 10 : monitor.alarm_at_]
mean = clf.explain_ood(latest, X).to_frame().mean()
print(f"largest mean contribution: {mean.idxmax()}")

if output:
    figure.savefig(output, dpi=120)
else:
    plt.show()
