"""Time and memory of this library, compared with the recipe of the tutorial.

Run ``python -m benchmarks.speed`` (half an hour on two cores). ``--quick`` is a smoke
test, ``--rows`` selects rows of the table, and ``--other-libraries`` adds classifiers
of other libraries. The data are 1,000 samples of two moons. Networks have six residual
blocks of 128 units and 1,024 random features, and are trained for 100 epochs with
mini-batches of 128 samples. Both sides run in turn, each in a process of its own,
because TensorFlow's thread settings apply to a whole process. The table has these
columns:

- the median times of the other side, usually the recipe of the tutorial, and of this
  library; their ratio, and its target;
- the fraction of the roofline: the time that the required operations
  (`benchmarks._tools.operation_counts`) take at the rate of a matrix product, divided
  by the measured time. The rate is measured immediately before and after;
- the peak memory above that before the call, measured in a child process: for fits
  after a first fit of a few samples, for predictions without their input.

The answers are checked as well. Accuracies must agree, and both SNGP models must
separate the OOD samples from the moons. The exit status is 1 if an answer differs or a
target is missed, except with ``--quick``. ``benchmarks/NOTES.md`` explains why the
ensemble does not reach its fraction of the roofline.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from statistics import median

import numpy as np
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from benchmarks._tools import operation_counts, speed_report, timing
from benchmarks._tools.printing import print_header
from benchmarks._tools.speed_comparison import (
    AWARE,
    DROPOUT,
    ENSEMBLE,
    LARGEST_COVARIANCE,
    SINGLE,
    SpeedComparison,
)
from benchmarks._tools.speed_report import Check, Row
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._runtime.threads import num_threads
from sksngp._tensorflow import network_pool

BOUNDS = [0.6, 0.75, 0.9, 1.05, 1.2]
FOLDS = 5
MAX_GROWTH = 105  # of the time from 10^5 to 10^7 samples
MAX_MEGABYTES = 300  # of a prediction


def warm_fit(comparison, key, title, Classifier, function, predict, target=None):
    """Measure a fit in a process that has already fitted the same network."""
    seconds, judged, ideal = comparison.timed(
        {
            "tutorial": lambda seed: comparison.fit_tutorial(seed, function),
            "ours": lambda seed: comparison.fit_ours(seed, Classifier),
        },
        comparison.fit_work(comparison.ours(Classifier)),
        comparison.judge(predict),
    )
    memory = comparison.fit_memory(Classifier, function)
    row = Row(key, title, seconds, target=target, ideal=ideal, memory=memory)
    comparison.compare(row, judged, aware=predict is AWARE)
    return [row]


def sngp_fit(comparison):
    """Measure the fit of SNGP."""
    what = "sngp-fit", "SNGP fit, warm", SNGPClassifier, "fit_sngp"
    return warm_fit(comparison, *what, AWARE, target=3.5)


def sngp_fresh(comparison):
    """Measure the first fit in a new process, with imports and compilation."""
    code = {
        "tutorial": f"{comparison.tutorial_code()}"
        f"tutorial.fit_sngp(X, y, epochs={comparison.epochs})",
        "ours": f"{comparison.ours_code(SNGPClassifier)}clf.fit(X, y)",
    }
    _, seconds, ideal = comparison.timed(
        {
            side: lambda _, c=text: timing.run_until_done(c)
            for side, text in code.items()
        },
        comparison.fit_work(comparison.ours(SNGPClassifier)),
        warm_up=False,
        judge=lambda _, seconds: seconds,
    )
    memory = {side: timing.peak_memory("", text) for side, text in code.items()}
    title = "SNGP fit, fresh process"
    return [Row("sngp-fresh", title, seconds, target=2, ideal=ideal, memory=memory)]


def deterministic_fit(comparison):
    """Measure the fit of the deterministic network."""
    what = "deterministic-fit", "deterministic fit, warm", ResNetClassifier
    return warm_fit(comparison, *what, "fit_deterministic", SINGLE)


def ensemble_fit(comparison):
    """Measure the fit of an ensemble, and its roofline without constant costs."""
    long, short = (
        comparison.ours(DeepEnsembleClassifier, epochs=epochs)
        for epochs in (comparison.epochs, max(1, comparison.epochs // 5))
    )
    members, X, y = comparison.members, comparison.X, comparison.y
    work = comparison.fit_work(long)
    seconds, judged, ideal = comparison.timed(
        {
            "tutorial": lambda s: comparison.fit_tutorial(
                s, "fit_ensemble", members=members
            ),
            "ours": lambda seed: long.set_params(random_state=seed).fit(X, y),
            "ours, fewer epochs": lambda seed: short.fit(X, y),
        },
        work,
        lambda side, model: "," not in side and comparison.judge(ENSEMBLE)(side, model),
    )
    del judged["ours, fewer epochs"]
    title = f"ensemble of {members} fit, warm"
    memory = comparison.fit_memory(DeepEnsembleClassifier, "fit_ensemble")
    row = Row("ensemble-fit", title, seconds, target=5, ideal=ideal, memory=memory)
    comparison.compare(row, judged, aware=False)
    # Epochs use float32 only; so does the roofline of their difference.
    pairs = zip(seconds["ours"], seconds["ours, fewer epochs"], strict=True)
    difference = median(more - fewer for more, fewer in pairs)
    rate = sum(work.values()) / ideal["tutorial"]
    more = work["float32"] - comparison.fit_work(short)["float32"]
    what = f"steady fraction of roofline ({long.epochs} less {short.epochs} epochs)"
    row.checks.append(Check(what, more / rate / difference, at_least=0.7))
    row.notes.append(f"{more / difference / 1e9:.0f} GFLOP/s in the steady state")
    return [row]


def dropout_predict(comparison):
    """Measure predictions with ten samples of dropout."""
    n = 1_000 if comparison.quick else 10_000
    passes, models, rows = 10, comparison.droppers, np.array(comparison.rows(n))

    def turn(side, seed):
        return models[side][seed % len(models[side])]

    work = comparison.architecture(models["ours"][0])
    seconds, _, ideal = comparison.timed(
        {
            "tutorial": lambda seed: comparison.tutorial.predict_dropout(
                turn("tutorial", seed), rows, passes
            ),
            "ours": lambda seed: turn("ours", seed).predict_proba(rows),
        },
        operation_counts.predict(work, *rows.shape, samples=passes),
    )
    title = f"MC dropout predict, {passes} passes, {n:,} samples"
    memory = comparison.predict_memory(
        MCDropoutClassifier, "fit_deterministic", "predict_dropout", n
    )
    row = Row("dropout-predict", title, seconds, target=4, ideal=ideal, memory=memory)
    judge = comparison.judge(DROPOUT)
    judged = {s: [judge(s, model) for model in models[s]] for s in models}
    comparison.compare(row, judged, aware=False)
    return [row]


def sngp_predict(comparison):
    """Measure the prediction of 10,000 samples by SNGP."""
    n = 1_000 if comparison.quick else 10_000
    models, rows = comparison.sngps, np.array(comparison.rows(n))
    recipe = comparison.tutorial.predict_sngp
    work = operation_counts.predict(
        comparison.architecture(models["ours"]), *rows.shape
    )
    seconds, _, ideal = comparison.timed(
        {
            "tutorial": lambda _: recipe(models["tutorial"], rows),
            "ours": lambda _: models["ours"].predict_proba(rows),
        },
        work,
    )
    memory = comparison.predict_memory(SNGPClassifier, "fit_sngp", "predict_sngp", n)
    title = f"SNGP predict_proba, {n:,} samples"
    row = Row("sngp-predict", title, seconds, target=15, ideal=ideal, memory=memory)
    judge = comparison.judge(AWARE)
    judged = {side: [judge(side, model)] for side, model in models.items()}
    comparison.compare(row, judged, aware=True)
    return [row]


def sngp_rows(comparison):
    """Measure predictions of 10^3 to 10^7 samples from a memory-mapped file."""
    sizes = [1_000, 3_000] if comparison.quick else [10**k for k in range(3, 8)]
    before = comparison.rates()
    seconds = _times_by_size(comparison, sizes)
    rates = comparison.rates(before)
    arch = comparison.architecture(comparison.sngps["ours"])
    rows = []
    for n in sizes:
        work = operation_counts.predict(arch, n, 2)
        ideal = {"ours": operation_counts.ideal_seconds(work, rates)}
        row = Row("sngp-rows", f"SNGP predict, {n:,} samples", seconds[n], size=n)
        row.ideal = ideal
        row.memory = comparison.predict_memory(
            SNGPClassifier, "fit_sngp", "predict_sngp", n
        )
        row.checks.append(Check("megabytes", row.memory["ours"], at_most=MAX_MEGABYTES))
        if n > LARGEST_COVARIANCE:
            gigabytes = f"{4 * n * n / 1e9:,.0f} GB"
            row.notes.append(
                f"the tutorial would need an n x n covariance of {gigabytes}"
            )
        rows.append(row)
    if 10**7 in sizes:
        # Compare times of the same round, in which the speed of the machine is similar.
        pairs = zip(seconds[10**5]["ours"], seconds[10**7]["ours"], strict=False)
        growth = median(large / small for small, large in pairs)
        rows[-1].checks.append(Check("t(10^7) / t(10^5)", growth, at_most=MAX_GROWTH))
    return rows


def _times_by_size(comparison, sizes):
    """Measure times by size and side in turn, with fewer rounds for large sizes."""
    models = comparison.sngps
    seconds = {n: {"ours": []} for n in sizes}
    for n in sizes:
        if n <= LARGEST_COVARIANCE:
            seconds[n]["tutorial"] = []
    calls = {
        "tutorial": lambda rows: comparison.tutorial.predict_sngp(
            models["tutorial"], np.array(rows)
        ),
        "ours": models["ours"].predict_proba,
    }
    for call in calls.values():
        call(comparison.rows(sizes[0]))
    for number in range(comparison.repeats):
        for n in sizes:
            if number < {10**6: 3, 10**7: 2}.get(n, comparison.repeats):
                for side in seconds[n]:
                    elapsed, _ = timing.seconds_of(calls[side], comparison.rows(n))
                    seconds[n][side].append(elapsed)
    return seconds


def grid_search(comparison):
    """Measure a search over five spectral bounds in five folds.

    The search runs with one job, and with one worker process per core, which is started
    before. The other sides are the recipe of the tutorial and this library without the
    pool of compiled networks. Both run one fit after the other on all cores.
    """
    calls = _search_calls(comparison)
    # Imports, first uses and the start of the workers are not measured.
    calls["tutorial"](0), calls["pool off"](0), calls["jobs"](0, epochs=1)
    _clear_pools()

    def judge(_, score):
        _clear_pools()
        return score

    seconds, judged = timing.alternate(
        calls, min(comparison.repeats, 3), warm_up=False, judge=judge
    )
    return [
        _search_row(seconds, judged, side, ours, target)
        for side, ours, target in (
            ("tutorial", "one job", None),
            ("pool off", "one job", None),
            ("tutorial", "jobs", 4),
            ("pool off", "jobs", 2),
        )
    ]


def _search_calls(comparison):
    """Return functions that perform the search, or a single fit of it."""
    X, y = comparison.X, comparison.y
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y))
    train, test = folds[0]
    classifier = comparison.ours(SNGPClassifier)

    def search(n_jobs, epochs=comparison.epochs):
        found = GridSearchCV(
            comparison.ours(SNGPClassifier, epochs=epochs),
            {"spec_norm_bound": BOUNDS},
            cv=folds,
            refit=False,
            n_jobs=n_jobs,
        ).fit(X, y)
        return found.cv_results_["split0_test_score"][BOUNDS.index(0.9)]

    def recipe(_):
        model = comparison.tutorial.fit_sngp(
            X[train], y[train], epochs=comparison.epochs
        )
        proba, _ = comparison.tutorial.predict_sngp(model, X[test])
        return (proba.argmax(axis=1) == y[test]).mean()

    def without_pool(_):
        network_pool.clear()
        return classifier.fit(X[train], y[train]).score(X[test], y[test])

    return {
        "tutorial": recipe,
        "pool off": without_pool,
        "one job": lambda _: search(1),
        "jobs": lambda _, **params: search(num_threads(), **params),
    }


def _search_row(seconds, judged, side, ours, target):
    fits = FOLDS * len(BOUNDS)
    times = {side: [fits * s for s in seconds[side]], "ours": seconds[ours]}
    jobs = f"{num_threads()} jobs" if ours == "jobs" else ours
    title = f"GridSearchCV, {fits} fits, {jobs}"
    row = Row("grid-search", title, times, side, target)
    row.notes.append(f"{side}: one fit and its predictions, times {fits}")
    gap = abs(np.mean(judged[side]) - np.mean(judged[ours]))
    what = "difference of accuracies in the first fold"
    row.checks.append(Check(what, gap, at_most=0.02))
    row.details["accuracies"] = {side: judged[side], "ours": judged[ours]}
    return row


def _clear_pools():
    """Clear all pools, so that each search compiles its network."""
    network_pool.clear()
    workers = num_threads()
    Parallel(workers)(delayed(_clear_pool)() for _ in range(workers))


def _clear_pool():
    network_pool.clear()
    time.sleep(0.5)  # so that each worker runs this function once


def one_row(comparison):
    """Measure the prediction of a single sample by SNGP."""
    models, row = comparison.sngps, comparison.X_test[:1]
    calls = {
        "tutorial": lambda: comparison.tutorial.predict_sngp(models["tutorial"], row),
        "ours": lambda: models["ours"].predict_proba(row),
    }
    seconds = {}
    for side, call in calls.items():
        call()
        seconds[side] = []
        for _ in range(20 if side == "tutorial" or comparison.quick else 200):
            start = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - start)
    found = Row("one-row", "SNGP predict_proba, one sample", seconds)
    milliseconds = 1000 * found.median("ours")
    found.checks.append(Check("milliseconds", milliseconds, at_most=3))
    return [found]


def import_time(comparison):
    """Measure ``import sksngp`` in a new process, after scikit-learn."""
    code = (
        "import time, sklearn\n"
        "start = time.perf_counter()\n"
        "import sksngp\n"
        "print(time.perf_counter() - start)"
    )
    seconds = [float(timing.run_child(code)) for _ in range(comparison.repeats)]
    row = Row("import", "import sksngp after sklearn", {"ours": seconds})
    row.checks.append(Check("seconds", row.median("ours"), at_most=0.3))
    return [row]


ROWS = {
    "sngp-fit": sngp_fit,
    "sngp-fresh": sngp_fresh,
    "deterministic-fit": deterministic_fit,
    "ensemble-fit": ensemble_fit,
    "dropout-predict": dropout_predict,
    "sngp-predict": sngp_predict,
    "sngp-rows": sngp_rows,
    "grid-search": grid_search,
    "one-row": one_row,
    "import": import_time,
}


def parse():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=5, help="measurements of each time"
    )
    parser.add_argument(
        "--quick", action="store_true", help="smoke test: targets are not checked"
    )
    parser.add_argument("--json", metavar="PATH", help="write all measurements")
    parser.add_argument("--picture", metavar="PATH.png", help="plot ratios and curves")
    parser.add_argument(
        "--rows", nargs="*", choices=list(ROWS), default=list(ROWS), metavar="NAME"
    )
    parser.add_argument(
        "--other-libraries", action="store_true", help="add other libraries"
    )
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats = 1
    return arguments


def main() -> None:
    """Print the table, write the files and check the targets."""
    arguments = parse()
    print_header()
    rows, results_of_others = [], []
    with tempfile.TemporaryDirectory() as folder:
        comparison = SpeedComparison(folder, arguments.repeats, arguments.quick)
        for name in arguments.rows:
            print(f"... {name}", file=sys.stderr, flush=True)
            rows += ROWS[name](comparison)
        if arguments.other_libraries:
            from benchmarks._tools import other_libraries

            results_of_others = other_libraries.measure(comparison)
    if rows:
        print(speed_report.speed_table(rows), speed_report.remarks(rows), sep="\n\n")
    if results_of_others:
        print("\n" + other_libraries.results_table(results_of_others))
    if arguments.json:
        content = {"arguments": vars(arguments), "other libraries": results_of_others}
        speed_report.save(arguments.json, rows, **content)
    if arguments.picture:
        speed_report.draw_speed(rows, arguments.picture)
    missed = speed_report.missed(rows)
    if arguments.quick:
        print("\nSmoke test: targets are not checked.")
    elif missed:
        sys.exit("Missed:\n  " + "\n  ".join(missed))


if __name__ == "__main__":
    main()
