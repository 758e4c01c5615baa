"""False alarms of the drift monitor, and its delay after a change.

Run ``python -m benchmarks.drift`` (minutes; ``--streams 100`` takes less time). The
first table uses data on land cover (`benchmarks._tools.packaged_datasets`): from the
500th sample on, one of 36 features is increased by a number of standard deviations. The
table contains the median number of further samples until the alarm. The second table
contains this number for normal scores that are increased after 10, 1,000 or 10,000 of
them. The p-values of the monitor have the same distribution for all continuous scores.
The last line counts the alarms in streams of 10,000 scores without a change. With 400
calibration scores and the default alarm level of 100, at most 1% of these streams is
expected to raise an alarm.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks._tools.packaged_datasets import load_satimage
from benchmarks._tools.printing import print_header, table
from sksngp import DriftMonitor, SNGPClassifier, ood_score

SHIFTS = (0.25, 0.5, 1.0, 2.0)
STARTS = (10, 1_000, 10_000)
#: Maximum number of changed samples.
MAX_DELAY = 3_000


def false_alarms(streams: int, length: int = 10_000) -> int:
    """Count the streams without a change that raise an alarm."""
    alarms = 0
    for seed in range(streams):
        scores = np.random.default_rng(seed).normal(size=400 + length)
        monitor = DriftMonitor(scores[:400], random_state=seed)
        alarms += monitor.update(scores[400:]).alarm_
    return alarms


def delay(start: int, shift: float, repeats: int = 20) -> float:
    """Return the median delay of the alarm in samples, or infinity without an alarm."""
    delays = []
    for seed in range(repeats):
        scores = np.random.default_rng(seed).normal(size=400 + start + MAX_DELAY)
        scores[400 + start :] += shift
        monitor = DriftMonitor(scores[:400], random_state=seed)
        alarm = monitor.update(scores[400:]).alarm_at_
        delays.append(_delay(alarm, start))
    return float(np.median(delays))


def _delay(alarm: int | None, start: int) -> float:
    """Return the number of samples from a change to the alarm that it raises."""
    return np.inf if alarm is None or alarm <= start else alarm - start


def land_cover(moves, repeats: int = 20) -> list[list[str]]:
    """Return the delays on land cover, for each change of a feature."""
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
            delays.append(_delay(alarm, 500))
        lines.append([f"{move:g} sd", f"{np.median(delays):g}"])
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=1000)
    arguments = parser.parse_args()
    print_header()
    print("Land cover, one feature changed\n")
    print(table(["change", "samples until the alarm"], land_cover((0, 1, 2, 3, 5))))
    lines = [
        [f"{shift:g} sd", *(f"{delay(start, shift):g}" for start in STARTS)]
        for shift in SHIFTS
    ]
    print("\nNormal scores: samples until the alarm, by start of the change\n")
    print(table(["change", *(f"{start:,}" for start in STARTS)], lines), flush=True)
    alarms = false_alarms(arguments.streams)
    print(
        f"\n{alarms} of {arguments.streams:,} streams without a change raised an alarm"
    )


if __name__ == "__main__":
    main()
