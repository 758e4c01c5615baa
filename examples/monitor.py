"""
Monitoring a classifier in use
==============================

A classifier of tumors is put to use. Which cases does it decide itself? Which are
unlike the cases that it was trained on, and why? And do the measurements still mean
what they meant in training? This example answers the questions in turn, for measured
data of 569 patients.

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
parser.add_argument("--output", metavar="FILE", help="write the picture there")
output = parser.parse_args().output

REFERRAL = 1.0  # an expert looks at the case
WRONG = 20.0  # a wrong call

# %%
# Training
# --------
#
# A third of the cases is for training and a third for decisions about the classifier in
# use: it calibrates the flags, which requires no labels, and sets the share of
# referrals. The remaining cases arrive after that, one by one.

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X, X_rest, y, y_rest = train_test_split(X, y, train_size=190, random_state=0)
X_known, X_new, y_known, y_new = train_test_split(
    X_rest, y_rest, train_size=190, random_state=0
)
clf = SNGPClassifier(ood_alpha=0.05, random_state=0).fit(X, y).calibrate_ood(X_known)

# %%
# Which cases to refer
# --------------------
#
# A wrong call costs as much as 20 referrals. Cases are referred from the uncertainty on
# at which the mean cost of the known cases is lowest.

uncertainty = clf.predict_uncertainty(X_known)
coverage, risk = risk_coverage_curve(clf.predict(X_known) == y_known, uncertainty)
cost = (1 - coverage) * REFERRAL + coverage * risk * WRONG
limit = np.sort(uncertainty)[round(coverage[cost.argmin()] * len(X_known)) - 1]

refer = clf.predict_uncertainty(X_new) > limit
wrong = (clf.predict(X_new) != y_new) & ~refer
print(
    f"{refer.mean():.0%} of the new cases are referred, {wrong.sum()} calls are wrong"
)
print(
    f"cost per case: {(REFERRAL * refer.sum() + WRONG * wrong.sum()) / len(X_new):.2f}"
    f" (all cases referred: {REFERRAL:.2f})"
)

# %%
# Which cases are unusual
# -----------------------
#
# ``predict_ood`` flags about 5% of ordinary cases. Among the flags in a batch, many
# can therefore be false. ``control_false_discoveries`` bounds the fraction of false
# ones among all flags instead. How many cases have to be odd for that depends on the
# sizes of the batch and of the calibration set.

flags = clf.predict_ood(X_new)
discoveries = control_false_discoveries(clf.ood_pvalue(X_new), rate=0.2)
fewest = fewest_discoveries(len(X_new), len(clf.ood_scores_), rate=0.2)
print(f"{flags.sum()} of {len(X_new)} new cases are flagged")
print(
    f"{discoveries.sum()} at a false discovery rate of 20% (at least {fewest} or none)"
)

# %%
# Why they are unusual
# --------------------
#
# The three oddest cases: each bar is the contribution of a measurement to the score.

oddest = clf.score_samples(X_new).argsort()[:3]
found = clf.explain_ood(X_new.iloc[oddest], X)
figure, axes = plt.subplots(2, 2, figsize=(13, 8), layout="constrained")
for sample, ax in enumerate(axes.flat[:3]):
    OODExplanationDisplay.from_explanation(found, sample=sample, max_features=6, ax=ax)
    names = np.array(found.feature_names)[found.contributions[sample].argsort()[::-1]]
    print(f"case {X_new.index[oddest[sample]]}: {', '.join(names[:2])}")
    nearest = found.neighbors[sample]
    print(f"  nearest training cases: {X.index[nearest].tolist()}")

# %%
# Whether something has changed
# -----------------------------
#
# From the 80th new case on, the instrument that measures smoothness reads more each
# time. Single flags say little about that: in an undisturbed stream, one of 20 cases is
# flagged as well. The drift monitor adds up the evidence. Its value reaches 100 in at
# most one of 100 undisturbed streams, however long they are.

drifting = X_new.copy()
step = 0.05 * X["mean smoothness"].std()
drifting["mean smoothness"] += step * np.maximum(np.arange(len(X_new)) - 80, 0)

undisturbed = DriftMonitor(clf.ood_scores_, random_state=0)
undisturbed.update(-clf.score_samples(X_new))
monitor = DriftMonitor(clf.ood_scores_, random_state=0)
for number in range(len(drifting)):  # case by case, as they arrive
    case = drifting.iloc[[number]]
    if monitor.update(-clf.score_samples(case)).alarm_:
        break
print(f"undisturbed: {'alarm' if undisturbed.alarm_ else 'no alarm'}")
print(f"drifting: alarm at case {monitor.alarm_at_}")
display = DriftDisplay.from_monitor(monitor, ax=axes[1, 1], label="drifting")
axes[1, 1].plot(undisturbed.values_, color="gray", label="undisturbed")
axes[1, 1].legend()

# %%
# What has changed is said by the explanations of the cases before the alarm.

latest = drifting.iloc[monitor.alarm_at_ - 10 : monitor.alarm_at_]
mean = clf.explain_ood(latest, X).contributions.mean(axis=0)
print(f"largest mean contribution: {X.columns[mean.argmax()]}")

if output:
    figure.savefig(output, dpi=120)
else:
    plt.show()
