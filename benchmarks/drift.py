"""False alarms of the drift monitor, and the delay until it raises one.

Run ``python -m benchmarks.drift`` (minutes; ``--streams 100`` for less). The first
table counts alarms in undisturbed streams of 10,000 scores, with 400 calibration
scores and the default alarm level of 100, so that at most 1% is expected. The scores
are normal; the p-values of the monitor have the same distribution for any continuous
scores. The second table moves the scores by a number of standard deviations after
10, 1,000 or 10,000 of them, and has the median number of further samples until the
alarm. The third table does so for land cover (`benchmarks.packaged_data`): one of 36
features of the samples is moved from the 500th on.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.packaged_data import load_satimage
from benchmarks.report import table
from sksngp import DriftMonitor, SNGPClassifier, ood_score

SHIFTS = (0.25, 0.5, 1.0, 2.0)
STARTS = (10, 1_000, 10_000)
#: Longest wait for an alarm.
PATIENCE = 3_000


def false_alarms(streams: int, length: int = 10_000) -> int:
    """Number of undisturbed streams with an alarm."""
    alarms = 0
    for seed in range(streams):
        scores = np.random.default_rng(seed).normal(size=400 + length)
        monitor = DriftMonitor(scores[:400], random_state=seed)
        alarms += monitor.update(scores[400:]).alarm_
    return alarms


def delay(start: int, shift: float, repeats: int = 20) -> float:
    """Median number of moved samples until the alarm; infinite if there is none."""
    delays = []
    for seed in range(repeats):
        scores = np.random.default_rng(seed).normal(size=400 + start + PATIENCE)
        scores[400 + start :] += shift
        monitor = DriftMonitor(scores[:400], random_state=seed)
        alarm = monitor.update(scores[400:]).alarm_at_
        delays.append(np.inf if alarm is None or alarm <= start else alarm - start)
    return float(np.median(delays))


def land_cover(moves, repeats: int = 5) -> list[list[str]]:
    """Delays on land cover by how far one feature is moved."""
    X, y = load_satimage()
    X, X_rest, y, _ = train_test_split(X, y, train_size=2000, random_state=0)
    clf = SNGPClassifier(num_layers=2, cv=None, validation_fraction=0, random_state=0)
    clf = clf.set_params(ood_alpha=0.5).fit(X, y)
    lines = []
    for move in moves:
        delays = []
        for seed in range(repeats):
            rows = X_rest[np.random.default_rng(seed).permutation(len(X_rest))].copy()
            clf.calibrate_ood(rows[:1000])
            rows[1500:, seed * 7 % 36] += move * X.std(axis=0)[seed * 7 % 36]
            monitor = DriftMonitor(clf.ood_scores_, random_state=seed)
            alarm = monitor.update(ood_score(clf, rows[1000:])).alarm_at_
            delays.append(np.inf if alarm is None else alarm - 500)
        lines.append([f"{move:g} sd", f"{np.median(delays):g}"])
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000)
    arguments = parser.parse_args()
    print("Land cover, one feature moved\n")
    print(table(["moved by", "samples until the alarm"], land_cover((0, 1, 2, 3, 5))))
    lines = [
        [f"{shift:g} sd", *(f"{delay(start, shift):g}" for start in STARTS)]
        for shift in SHIFTS
    ]
    print("\nNormal scores: samples until the alarm, by start of the change\n")
    print(table(["moved by", *(f"{start:,}" for start in STARTS)], lines), flush=True)
    alarms = false_alarms(arguments.streams)
    print(f"\n{alarms} of {arguments.streams:,} undisturbed streams raised an alarm")


if __name__ == "__main__":
    main()
