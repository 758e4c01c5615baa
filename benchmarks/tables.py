"""Probabilities and OOD flags of many methods on the tables of KEEL.

Run ``python -m benchmarks.tables`` (hours; ``--tables``, ``--seeds`` and ``--methods``
select runs, and ``--jobs`` sets the number of worker processes). Half of the tables
(`benchmarks._tools.keel_tables`) is reserved for tuning, and results are reported on
the other half. All methods have their default parameters
(`benchmarks._tools.table_methods`). At most 2,000 training samples are drawn from each
table, except for three tables that are used as a whole.

Each result is appended to the file ``--results`` as soon as it is available, and an
interrupted command continues from there. A result is identified by table, seed, method,
version of the package that the method comes from, and maximum number of training
samples. After a change of the code, use ``--rerun`` or another file.

Measures: accuracy, negative log-likelihood (NLL), expected calibration error (ECE, 15
bins of equal weight) and Brier score of the test samples; AUROC and FPR95 for four
kinds of OOD samples (`benchmarks._tools.table_runs`); the fraction of new samples and
of each kind that is flagged; seconds to fit and to predict the test samples, which
include the compilation of a network if it is the first of its shape in the process.

``--segment`` compares with the result published for posterior networks instead.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from benchmarks._tools.keel_tables import (
    HALVES,
    TABLES,
    WHOLE,
    load_table,
    tables_of,
)
from benchmarks._tools.printing import print_header
from benchmarks._tools.table_methods import METHODS, REFERENCE
from benchmarks._tools.table_report import figures_of, markdown, report
from benchmarks._tools.table_runs import Run, perform
from sksngp.datasets import hold_out_classes
from sksngp.metrics import ood_average_precision

#: Maximum number of training samples of a table.
MAX_ROWS = 2_000
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sksngp")

#: The class "sky" of the table "segment".
SKY = "2"
#: Results of Charpentier et al. (2020, arXiv 2006.09239). In-distribution samples are
#: the positives of their precision-recall curve.
POSTERIOR_NETWORK = {"accuracy": 0.977, "AUPR, in-distribution positive": 0.963}


# The file of results


def read_results(path: Path) -> dict[Run, dict]:
    """Read the records of finished runs, and the last record if a run has several.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of Run to dict
        Records with the keys "answers" and "seconds".
    """
    found: dict[Run, dict] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the last line of an interrupted command
            continue
        run = Run(**record["run"])
        found.pop(run, None)  # order runs by their last records
        found[run] = record
    return found


def append_result(path: Path, run: Run, answers: dict, seconds: float) -> None:
    """Append the record of a finished run."""
    record = {"run": asdict(run), "seconds": seconds, "answers": answers}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        file.seek(0)
        broken = file.read()[-1:] not in ("", "\n")
        file.write("\n" * broken + json.dumps(record) + "\n")


# Runs


def selected_runs(
    tables: Iterable[str], seeds: int, methods: Iterable[str], max_rows: int | None
) -> list[Run]:
    """List the runs of the installed methods; print the names of the others."""
    versions = {method: METHODS[method].version for method in methods}
    for method, version in versions.items():
        if version is None:
            print(f"{method} left out: {METHODS[method].package} is not installed")
    return [
        Run(table, seed, method, version, row_limit(table, max_rows))
        for table in tables
        for seed in range(seeds)
        for method, version in versions.items()
        if version is not None
    ]


def row_limit(table: str, max_rows: int | None) -> int | None:
    """Return the maximum number of training samples of a table."""
    if max_rows is not None:
        return max_rows
    return None if table in WHOLE else MAX_ROWS


def attempt(run: Run) -> tuple[Run, dict | None, float, str]:
    """Perform a run; return its answers or the error, and the seconds it took."""
    start = time.perf_counter()
    try:
        answers, error = perform(run), ""
    except ImportError:  # the tables are not installed
        raise
    except Exception:  # continue with the other runs
        answers, error = None, traceback.format_exc()
    return run, answers, time.perf_counter() - start, error


def perform_all(
    runs: list[Run], path: Path, jobs: int, seconds: dict[str, list[float]]
) -> int:
    """Perform runs and append their results; return the number of failures.

    Parameters
    ----------
    runs : list of Run
    path : Path
    jobs : int
        Number of worker processes.
    seconds : dict of str to list of float
        Durations of earlier runs by method, to estimate the remaining time.
    """
    failures = 0
    waiting = dict.fromkeys(runs)
    parallel = Parallel(
        jobs, return_as="generator_unordered", batch_size=1, pre_dispatch="2 * n_jobs"
    )
    for run, answers, duration, error in parallel(map(delayed(attempt), runs)):
        del waiting[run]
        if answers is None:
            failures += 1
            print(error, file=sys.stderr)
        else:
            append_result(path, run, answers, duration)
        seconds[run.method].append(duration)
        remaining = sum(expected_seconds(seconds, left.method) for left in waiting)
        print(
            f"{len(runs) - len(waiting)}/{len(runs)}  {run.table}, seed {run.seed}, "
            f"{run.method}: {'failed' if error else f'{duration:.1f} s'}; "
            f"about {remaining / jobs / 60:.0f} min remain",
            file=sys.stderr,
            flush=True,
        )
    return failures


def expected_seconds(seconds: dict[str, list[float]], method: str) -> float:
    """Return the mean duration of the runs of a method, or of all runs."""
    known = seconds.get(method) or [s for times in seconds.values() for s in times]
    return float(np.mean(known))


def selected_figures(
    results: dict[Run, dict], arguments: argparse.Namespace
) -> pd.DataFrame:
    """Return the results that the options select, for all versions of the packages."""

    def chosen() -> Iterator[tuple[Run, dict]]:
        for run, record in results.items():
            if (
                run.table in arguments.tables
                and run.seed < arguments.seeds
                and run.method in arguments.methods
                and run.max_rows == row_limit(run.table, arguments.max_rows)
            ):
                yield run, record["answers"]

    return figures_of(chosen())


# A published result


def segment(methods: Iterable[str], seeds: int) -> pd.DataFrame:
    """Detect the class "sky" of the table "segment".

    As in the publication, a fifth of the other samples is used for testing. Results are
    means over the seeds. The positives of the AUPR are the OOD samples, or the
    in-distribution samples.
    """
    table, rows = load_table("segment"), []
    for seed in range(seeds):
        data = hold_out_classes(
            table.X, table.y, [SKY], test_size=0.2, random_state=seed
        )
        classes, y = np.unique(data.y_train, return_inverse=True)
        for method in methods:
            answers = METHODS[method].fit(data.X_train, y, seed)
            for name, answer in answers.items():
                known, unknown = answer.score(data.X_test), answer.score(data.X_ood)
                row = {
                    "answer": name,
                    "AUPR, OOD positive": ood_average_precision(known, unknown),
                    "AUPR, in-distribution positive": ood_average_precision(
                        -unknown, -known
                    ),
                }
                if answer.proba is not None:
                    predicted = classes[answer.proba(data.X_test).argmax(axis=1)]
                    row["accuracy"] = np.mean(predicted == data.y_test)
                rows.append(row)
    found = pd.DataFrame(rows).groupby("answer", sort=False).mean()
    found.loc["posterior network (published)"] = POSTERIOR_NETWORK
    return found


# Command line


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the options; select the tables of the half."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=[*HALVES, "all"], default="reporting")
    parser.add_argument(
        "--tables", nargs="*", choices=TABLES, metavar="TABLE", help="instead of a half"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), metavar="METHOD")
    parser.add_argument(
        "--max-rows", type=int, help="maximum number of training samples of all tables"
    )
    parser.add_argument("--jobs", type=int, default=1, help="worker processes")
    parser.add_argument(
        "--results", type=Path, default=CACHE / "tables.jsonl", metavar="PATH"
    )
    parser.add_argument(
        "--rerun", action="store_true", help="replace the results of the selected runs"
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="print the results in the file without fitting",
    )
    parser.add_argument("--picture", metavar="PATH.png", help="plot the mean ranks")
    parser.add_argument(
        "--segment", action="store_true", help="compare with a published result"
    )
    arguments = parser.parse_args(argv)
    arguments.tables = arguments.tables or tables_of(arguments.half)
    if arguments.methods is None:
        arguments.methods = [REFERENCE] if arguments.segment else list(METHODS)
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Perform the runs that have no result yet, and print the report."""
    arguments = parse(argv)
    print_header()
    if arguments.segment:
        print(markdown(segment(arguments.methods, arguments.seeds), "method"))
        return
    path, failures = arguments.results, 0
    results = read_results(path)
    if not arguments.report:
        seconds = defaultdict(list)
        for run, record in results.items():
            seconds[run.method].append(record["seconds"])
        runs = selected_runs(
            arguments.tables, arguments.seeds, arguments.methods, arguments.max_rows
        )
        if not arguments.rerun:
            runs = [run for run in runs if run not in results]
        failures = perform_all(runs, path, arguments.jobs, seconds)
        results = read_results(path)
    figures = selected_figures(results, arguments)
    if figures.empty:
        sys.exit(f"{path} has no results of the selected runs")
    report(figures, arguments.picture)
    if failures:
        sys.exit(f"{failures} runs failed")


if __name__ == "__main__":
    main()
