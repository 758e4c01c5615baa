"""The library against the tutorial's recipe, on the same data.

Run ``python -m benchmarks.speed`` (half an hour on two cores), with ``--quick``
to see that it runs, or with ``--rows`` for some rows only. 1,000 rows of two moons,
100 epochs, batches of 128, 6 x 128 networks, 1,024 random features; both sides in
turn, each in a process of its own, as TensorFlow's threads are settings of a process.
Columns of the table:

- medians of the other side, nearly always the tutorial's recipe, and of ours; their
  ratio, and the target for it;
- the share of the roofline: the time that the work's useful operations
  (`benchmarks.flops`) take at the rate of a plain matrix product, measured just
  before and after, over the time taken;
- peak memory, in a child process, above what was there just before the call: for
  fits after a first fit of a few rows, for predictions above the input's own.

Answers are checked too: accuracies must agree, both SNGPs must tell the blob beside
the moons from them. The exit status is 1 if an answer differs or a target is
missed, unless ``--quick``; one is, the ensemble's share of the roofline (see
``benchmarks/NOTES.md``).
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

from benchmarks import flops, report, timing
from benchmarks.contest import (
    AWARE,
    DROPOUT,
    ENSEMBLE,
    LARGEST_COVARIANCE,
    SINGLE,
    Contest,
)
from benchmarks.report import Check, Row
from sksngp import (
    DeepEnsembleClassifier,
    MCDropoutClassifier,
    ResNetClassifier,
    SNGPClassifier,
)
from sksngp._runtime.threads import num_threads
from sksngp._tensorflow import pool

BOUNDS = [0.6, 0.75, 0.9, 1.05, 1.2]
FOLDS = 5
#: Times ten million rows may take what a hundred thousand take.
LINEAR = 105
MEGABYTES = 300


def fit_row(contest, key, title, Classifier, function, predict, target=None):
    """Row of a warm fit."""
    seconds, judged, ideal = contest.timed(
        {
            "tutorial": lambda seed: contest.fit_tutorial(seed, function),
            "ours": lambda seed: contest.fit_ours(seed, Classifier),
        },
        contest.fit_work(contest.ours(Classifier)),
        contest.judge(predict),
    )
    memory = contest.fit_memory(Classifier, function)
    row = Row(key, title, seconds, target=target, ideal=ideal, memory=memory)
    contest.compare(row, judged, aware=predict is AWARE)
    return row


def sngp_fit(contest):
    """Fit in a process that has fitted before."""
    title = "SNGP fit, warm"
    return [fit_row(contest, "sngp-fit", title, SNGPClassifier, "fit_sngp", AWARE, 3.5)]


def sngp_fresh(contest):
    """First fit in a fresh process: imports, building, compilation and training."""
    code = {
        "tutorial": f"{contest.tutorial_code()}"
        f"tutorial.fit_sngp(X, y, epochs={contest.epochs})",
        "ours": f"{contest.ours_code(SNGPClassifier)}clf.fit(X, y)",
    }
    _, seconds, ideal = contest.timed(
        {
            side: lambda _, c=text: timing.run_until_done(c)
            for side, text in code.items()
        },
        contest.fit_work(contest.ours(SNGPClassifier)),
        warm_up=False,
        judge=lambda _, seconds: seconds,
    )
    memory = {side: timing.peak_memory("", text) for side, text in code.items()}
    title = "SNGP fit, fresh process"
    return [Row("sngp-fresh", title, seconds, target=2, ideal=ideal, memory=memory)]


def deterministic_fit(contest):
    """Fit of the deterministic network."""
    return [
        fit_row(
            contest,
            "deterministic-fit",
            "deterministic fit, warm",
            ResNetClassifier,
            "fit_deterministic",
            SINGLE,
        )
    ]


def ensemble_fit(contest):
    """Fit of an ensemble; its share of the roofline without constant costs."""
    long, short = (
        contest.ours(DeepEnsembleClassifier, epochs=epochs)
        for epochs in (contest.epochs, max(1, contest.epochs // 5))
    )
    members, X, y = contest.members, contest.X, contest.y
    work = contest.fit_work(long)
    seconds, judged, ideal = contest.timed(
        {
            "tutorial": lambda s: contest.fit_tutorial(
                s, "fit_ensemble", members=members
            ),
            "ours": lambda seed: long.set_params(random_state=seed).fit(X, y),
            "ours, fewer epochs": lambda seed: short.fit(X, y),
        },
        work,
        lambda side, model: "," not in side and contest.judge(ENSEMBLE)(side, model),
    )
    del judged["ours, fewer epochs"]
    title = f"ensemble of {members} fit, warm"
    memory = contest.fit_memory(DeepEnsembleClassifier, "fit_ensemble")
    row = Row("ensemble-fit", title, seconds, target=5, ideal=ideal, memory=memory)
    contest.compare(row, judged, aware=False)
    # Epochs are all in float32, and so is what the difference is held against.
    pairs = zip(seconds["ours"], seconds["ours, fewer epochs"], strict=True)
    difference = median(more - fewer for more, fewer in pairs)
    rate = sum(work.values()) / ideal["tutorial"]
    more = work["float32"] - contest.fit_work(short)["float32"]
    what = f"steady share of roofline ({long.epochs} less {short.epochs} epochs)"
    row.checks.append(Check(what, more / rate / difference, at_least=0.7))
    row.notes.append(f"{more / difference / 1e9:.0f} GFLOP/s in the steady state")
    return [row]


def dropout_predict(contest):
    """Prediction by ten passes with dropout."""
    n = 1_000 if contest.quick else 10_000
    passes, models, rows = 10, contest.droppers, np.array(contest.rows(n))

    def turn(side, seed):
        return models[side][seed % len(models[side])]

    work = contest.architecture(models["ours"][0])
    seconds, _, ideal = contest.timed(
        {
            "tutorial": lambda seed: contest.tutorial.predict_dropout(
                turn("tutorial", seed), rows, passes
            ),
            "ours": lambda seed: turn("ours", seed).predict_proba(rows),
        },
        flops.predict(work, *rows.shape, samples=passes),
    )
    title = f"MC dropout predict, {passes} passes, {n:,} rows"
    memory = contest.predict_memory(
        MCDropoutClassifier, "fit_deterministic", "predict_dropout", n
    )
    row = Row("dropout-predict", title, seconds, target=4, ideal=ideal, memory=memory)
    judge = contest.judge(DROPOUT)
    judged = {s: [judge(s, model) for model in models[s]] for s in models}
    contest.compare(row, judged, aware=False)
    return [row]


def sngp_predict(contest):
    """Prediction of ten thousand rows."""
    n = 1_000 if contest.quick else 10_000
    models, rows = contest.sngps, np.array(contest.rows(n))
    recipe = contest.tutorial.predict_sngp
    work = flops.predict(contest.architecture(models["ours"]), *rows.shape)
    seconds, _, ideal = contest.timed(
        {
            "tutorial": lambda _: recipe(models["tutorial"], rows),
            "ours": lambda _: models["ours"].predict_proba(rows),
        },
        work,
    )
    memory = contest.predict_memory(SNGPClassifier, "fit_sngp", "predict_sngp", n)
    title = f"SNGP predict_proba, {n:,} rows"
    row = Row("sngp-predict", title, seconds, target=15, ideal=ideal, memory=memory)
    judge = contest.judge(AWARE)
    judged = {side: [judge(side, model)] for side, model in models.items()}
    contest.compare(row, judged, aware=True)
    return [row]


def sngp_rows(contest):
    """Prediction of more and more rows from a memory-mapped file."""
    sizes = [1_000, 3_000] if contest.quick else [10**k for k in range(3, 8)]
    before = contest.rates()
    seconds = _times_by_size(contest, sizes)
    rates = contest.rates(before)
    arch = contest.architecture(contest.sngps["ours"])
    rows = []
    for n in sizes:
        work = flops.predict(arch, n, 2)
        ideal = {"ours": flops.ideal_seconds(work, rates)}
        row = Row("sngp-rows", f"SNGP predict, {n:,} rows", seconds[n], size=n)
        row.ideal = ideal
        row.memory = contest.predict_memory(
            SNGPClassifier, "fit_sngp", "predict_sngp", n
        )
        row.checks.append(Check("megabytes", row.memory["ours"], at_most=MEGABYTES))
        if n > LARGEST_COVARIANCE:
            gigabytes = f"{4 * n * n / 1e9:,.0f} GB"
            row.notes.append(f"tutorial cannot: n x n covariance of {gigabytes}")
        rows.append(row)
    if 10**7 in sizes:
        # Rounds in which both ran, so that a machine's drift falls on both.
        pairs = zip(seconds[10**5]["ours"], seconds[10**7]["ours"], strict=False)
        growth = median(large / small for small, large in pairs)
        rows[-1].checks.append(Check("t(10^7) / t(10^5)", growth, at_most=LINEAR))
    return rows


def _times_by_size(contest, sizes):
    """Seconds by size and side, in turn; the largest sizes in fewer rounds."""
    models = contest.sngps
    seconds = {n: {"ours": []} for n in sizes}
    for n in sizes:
        if n <= LARGEST_COVARIANCE:
            seconds[n]["tutorial"] = []
    calls = {
        "tutorial": lambda rows: contest.tutorial.predict_sngp(
            models["tutorial"], np.array(rows)
        ),
        "ours": models["ours"].predict_proba,
    }
    for call in calls.values():
        call(contest.rows(sizes[0]))
    for number in range(contest.repeats):
        for n in sizes:
            if number < {10**6: 3, 10**7: 2}.get(n, contest.repeats):
                for side in seconds[n]:
                    elapsed, _ = timing.seconds_of(calls[side], contest.rows(n))
                    seconds[n][side].append(elapsed)
    return seconds


def grid_search(contest):
    """Search over five spectral bounds in five folds.

    Both ways to search are measured: one fit after the other, and a worker process a
    core, started before. The tutorial's recipe and the library's own loop without the
    pool are one fit after the other, on all cores.
    """
    X, y = contest.X, contest.y
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y))
    train, test = folds[0]
    fits = FOLDS * len(BOUNDS)
    classifier = contest.ours(SNGPClassifier)
    workers = num_threads()

    def search(n_jobs, classifier=classifier):
        found = GridSearchCV(
            classifier,
            {"spec_norm_bound": BOUNDS},
            cv=folds,
            refit=False,
            n_jobs=n_jobs,
        ).fit(X, y)
        return found.cv_results_["split0_test_score"][BOUNDS.index(0.9)]

    def recipe(_):
        model = contest.tutorial.fit_sngp(X[train], y[train], epochs=contest.epochs)
        proba, _ = contest.tutorial.predict_sngp(model, X[test])
        return (proba.argmax(axis=1) == y[test]).mean()

    def without_pool(_):
        pool.clear()
        return classifier.fit(X[train], y[train]).score(X[test], y[test])

    calls = {
        "tutorial": recipe,
        "pool off": without_pool,
        "one job": lambda _: search(1),
        "jobs": lambda _: search(workers),
    }

    def forget(*_):
        """Let each search pay for its own compilation; off the clock."""
        pool.clear()
        Parallel(workers)(delayed(_clear_pool)() for _ in range(workers))

    # Imports, first uses and the start of workers are on nobody's clock.
    recipe(0), without_pool(0), search(workers, contest.ours(SNGPClassifier, epochs=1))
    forget()

    def judge(_, score):
        forget()
        return score

    seconds, judged = timing.alternate(
        calls, min(contest.repeats, 3), warm_up=False, judge=judge
    )
    rows = []
    for side, ours, target in (
        ("tutorial", "one job", None),
        ("pool off", "one job", None),
        ("tutorial", "jobs", 4),
        ("pool off", "jobs", 2),
    ):
        times = {side: [fits * s for s in seconds[side]], "ours": seconds[ours]}
        jobs = f"{workers} jobs" if ours == "jobs" else ours
        title = f"GridSearchCV, {fits} fits, {jobs}"
        row = Row("grid-search", title, times, side, target)
        row.notes.append(f"{side}: one fit and its predictions, times {fits}")
        gap = abs(np.mean(judged[side]) - np.mean(judged[ours]))
        what = "difference of accuracies in the first fold"
        row.checks.append(Check(what, gap, at_most=0.02))
        row.details["accuracies"] = {side: judged[side], "ours": judged[ours]}
        rows.append(row)
    return rows


def _clear_pool():
    pool.clear()
    time.sleep(0.5)  # so that no worker does it twice while another doesn't


def one_row(contest):
    """Prediction of a single row."""
    models, row = contest.sngps, contest.X_test[:1]
    calls = {
        "tutorial": lambda: contest.tutorial.predict_sngp(models["tutorial"], row),
        "ours": lambda: models["ours"].predict_proba(row),
    }
    seconds = {}
    for side, call in calls.items():
        call()
        seconds[side] = []
        for _ in range(20 if side == "tutorial" or contest.quick else 200):
            start = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - start)
    found = Row("one-row", "SNGP predict_proba, one row", seconds)
    milliseconds = 1000 * found.median("ours")
    found.checks.append(Check("milliseconds", milliseconds, at_most=3))
    return [found]


def import_time(contest):
    """``import sksngp`` in a fresh process that has imported scikit-learn."""
    code = (
        "import time, sklearn\n"
        "start = time.perf_counter()\n"
        "import sksngp\n"
        "print(time.perf_counter() - start)"
    )
    seconds = [float(timing.run_child(code)) for _ in range(contest.repeats)]
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
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds of each timing")
    parser.add_argument(
        "--quick", action="store_true", help="smoke run; nothing is judged"
    )
    parser.add_argument("--json", metavar="PATH", help="write all raw figures")
    parser.add_argument("--picture", metavar="PATH.png", help="draw ratios and curves")
    parser.add_argument(
        "--rows", nargs="*", choices=list(ROWS), default=list(ROWS), metavar="NAME"
    )
    parser.add_argument("--peers", action="store_true", help="add the peers' rows")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.repeats = 1
    return arguments


def main() -> None:
    """Print the table, write the files, and judge."""
    arguments = parse()
    rows, peer_results = [], []
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(folder, arguments.repeats, arguments.quick)
        for name in arguments.rows:
            print(f"... {name}", file=sys.stderr, flush=True)
            rows += ROWS[name](contest)
        if arguments.peers:
            from benchmarks import peers

            peer_results = peers.measure(contest)
    if rows:
        print(report.speed_table(rows), report.remarks(rows), sep="\n\n")
    if peer_results:
        print("\n" + peers.peer_table(peer_results))
    if arguments.json:
        records = [report.row_record(row) for row in rows]
        content = {"arguments": vars(arguments), "rows": records, "peers": peer_results}
        report.save_json(arguments.json, content)
    if arguments.picture:
        report.draw_speed(rows, arguments.picture)
    missed = report.missed(rows)
    if arguments.quick:
        print("\nA smoke run: nothing is judged.")
    elif missed:
        sys.exit("Missed:\n  " + "\n  ".join(missed))


if __name__ == "__main__":
    main()
