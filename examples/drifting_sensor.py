"""
Detecting a drifting sensor
===========================

A satellite measures the light that the ground reflects in four spectral bands, and a
classifier maps the land cover. In a stream of new pixels, the sensor of one band slowly
loses its calibration. When does the drift monitor raise an alarm, and does the
accuracy decrease before that?

The file ``land_cover.csv`` contains the central pixels of 3,000 neighborhoods of the
Statlog Landsat dataset (Srinivasan 1993, UCI Machine Learning Repository,
doi:10.24432/C55887, CC BY 4.0).

Run: ``python drifting_sensor.py [--output FILE.png]``
"""

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from sksngp import DriftMonitor, SNGPClassifier
from sksngp.inspection import DriftDisplay

parser = argparse.ArgumentParser(description="Detect a drifting sensor.")
parser.add_argument("--output", metavar="FILE", help="save the figure to this file")
output = parser.parse_args().output

# %%
# Training
# --------
#
# A third of the pixels trains the classifier, and another third calibrates its scores.
# The others arrive later, one after the other.

data = pd.read_csv(Path(sys.argv[0]).with_name("land_cover.csv"))
X, y = data.drop(columns="cover"), data["cover"]
X, X_rest, y, y_rest = train_test_split(X, y, train_size=1000, random_state=0)
X_known, X_new, y_known, y_new = train_test_split(
    X_rest, y_rest, train_size=1000, random_state=0
)
clf = SNGPClassifier(num_layers=2, cv=None, random_state=0).fit(X, y)
clf.calibrate_ood(X_known)
print(f"accuracy for new pixels: {clf.score(X_new, y_new):.2f}")

# %%
# A stream with drift
# -------------------
#
# After 300 pixels, the values of the red band begin to increase, by 2% of its standard
# deviation per 10 pixels.

START = 300
drifting = X_new.astype(float)
drift = 0.002 * X["red"].std() * np.maximum(np.arange(len(X_new)) - START + 1, 0)
drifting["red"] += drift

# %%
# Without drift, the value of the monitor reaches 100 in at most one of 100 streams.

monitors = {}
for name, stream in {"with drift": drifting, "without drift": X_new}.items():
    monitor = DriftMonitor(clf.ood_scores_, random_state=0)
    monitors[name] = monitor.update(-clf.score_samples(stream))
    print(f"{name}: {'alarm' if monitor.alarm_ else 'no alarm'}")
alarm = monitors["with drift"].alarm_at_
print(
    f"alarm {alarm - START} pixels after the drift began, when it was "
    f"{drift[alarm - 1] / X['red'].std():.2f} standard deviations"
)

# %%
# Which sensor
# ------------
#
# Explanations of the pixels before the alarm indicate which band has changed.

latest = drifting.iloc[alarm - 50 : alarm]
contributions = clf.explain_ood(latest, X).to_frame().mean()
for band, value in contributions.sort_values(ascending=False).items():
    print(f"{band}: mean contribution {value:.2f}")

# %%
# Accuracy
# --------
#
# The monitor requires no labels. The accuracy for groups of 100 pixels does, and it
# decreases visibly only later.

correct = clf.predict(drifting) == y_new
blocks = correct.to_numpy().reshape(-1, 100).mean(axis=1)

figure, axes = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
display = DriftDisplay.from_monitor(
    monitors["with drift"], ax=axes[0], label="with drift"
)
values = monitors["without drift"].values_
axes[0].plot(range(1, len(values) + 1), values, color="gray", label="without drift")
axes[0].axvline(START, color="black", linestyle=":", label="drift begins")
axes[0].legend(loc="upper left", fontsize="small")
axes[1].plot(100 * np.arange(len(blocks)) + 50, blocks, marker="o")
axes[1].axvline(START, color="black", linestyle=":")
axes[1].axvline(alarm, color=display.alarm_line_.get_color())
axes[1].set(xlabel="sample", ylabel="accuracy", ylim=(0, 1))

if output:
    figure.savefig(output, dpi=120)
else:
    plt.show()
