"""Summaries of the results of `benchmarks.tables`: tables and a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

import pandas as pd

from benchmarks._tools.measures import draw_ranks, mean_ranks
from benchmarks._tools.table_methods import REFERENCE
from benchmarks._tools.table_runs import HELD_OUT, KINDS, Run

PROBABILITIES = ["accuracy", "NLL", "ECE", "Brier", "fit s", "predict s"]
DETECTION = {
    measure: [f"{measure} {kind}" for kind in KINDS] for measure in ("AUROC", "FPR95")
}
FLAGS = ["flagged new", *(f"flagged {kind}" for kind in KINDS)]
#: Measures by which methods are ranked.
RANKED = ["accuracy", "NLL", "ECE", "Brier", "AUROC", f"AUROC {HELD_OUT}"]
#: Measures for which the worst tables are listed.
LISTED = ["accuracy", "NLL", "AUROC"]
HIGHER_IS_BETTER = ("accuracy", "AUROC")
WORST = 8


def figures_of(results: Iterable[tuple[Run, dict]]) -> pd.DataFrame:
    """Collect results: one row per answer, table and seed.

    Parameters
    ----------
    results : iterable of (Run, dict)
        Runs and the measures of their answers. Later results replace earlier ones.

    Returns
    -------
    DataFrame
        Indexed by answer, table and seed. "AUROC" and "FPR95" are the means over the
        kinds of OOD samples.
    """
    rows = {}
    for run, answers in results:
        for answer, measures in answers.items():
            rows[answer, run.table, run.seed] = measures
    index = pd.MultiIndex.from_tuples(list(rows), names=["answer", "table", "seed"])
    columns = [*PROBABILITIES, *chain(*DETECTION.values()), *FLAGS]
    found = pd.DataFrame(list(rows.values()), index=index).reindex(columns=columns)
    for measure, kinds in DETECTION.items():
        found[measure] = found[kinds].mean(axis=1)
    return found


def by_table(figures: pd.DataFrame) -> pd.DataFrame:
    """Average over seeds, for each answer and table."""
    return figures.groupby(["answer", "table"], sort=False).mean()


def complete(figures: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return a measure of the answers that have results for all tables and seeds.

    Parameters
    ----------
    figures : DataFrame
    measure : str

    Returns
    -------
    DataFrame
        One row per answer, one column per table, without gaps.
    """
    values = figures[measure].unstack(["table", "seed"])
    values = values.dropna(axis=1, how="all").dropna()
    return values.T.groupby(level="table", sort=False).mean().T


def rank_table(figures: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Compute the mean ranks by each measure, and the critical differences."""
    ranks, differences = {}, {}
    for measure in RANKED:
        values = complete(figures, measure)
        if values.size and len(values) > 1:
            found = mean_ranks(values if _higher(measure) else -values)
            ranks[measure], differences[measure] = found
    return pd.DataFrame(ranks), differences


def wins(figures: pd.DataFrame) -> pd.DataFrame:
    """Count tables on which the reference is better or worse than other answers.

    Results are averaged over the seeds that both answers have.
    """
    rows = {}
    for answer in figures.index.unique("answer").drop(REFERENCE):
        ours, theirs = figures.loc[REFERENCE], figures.loc[answer]
        gains = (ours - theirs).groupby("table").mean()
        rows[answer] = {
            "tables": f"{gains['AUROC'].notna().sum()}",
            **{measure: _won_and_lost(gains[measure], measure) for measure in RANKED},
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _won_and_lost(gains: pd.Series, measure: str) -> str:
    gains = gains.dropna().round(9) * (1 if _higher(measure) else -1)
    return f"{(gains > 0).sum()}-{(gains < 0).sum()}" if len(gains) else "-"


def _higher(measure: str) -> bool:
    return measure.startswith(HIGHER_IS_BETTER)


def worst(figures: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return the tables on which the reference is furthest behind the best answer."""
    values = by_table(figures)[measure].unstack("table")
    if not _higher(measure):
        values = -values
    ours, others = values.loc[REFERENCE].dropna(), values.drop(REFERENCE)
    others = others[ours.index].dropna(axis=1, how="all")
    found = pd.DataFrame(
        {
            REFERENCE: ours[others.columns].abs(),
            "best other": others.max().abs(),
            "method": others.idxmax(),
            "behind": others.max() - ours[others.columns],
        }
    )
    return found.sort_values("behind", ascending=False).head(WORST)


def markdown(frame: pd.DataFrame, title: str, digits: int = 3) -> str:
    """Format a table in Markdown; missing values are dashes.

    Parameters
    ----------
    frame : DataFrame
    title : str
        Heading of the index.
    digits : int, default=3
        Number of decimals.

    Returns
    -------
    str
    """

    def cell(value):
        if isinstance(value, str):
            return value
        return "-" if pd.isna(value) else f"{value:.{digits}f}"

    lines = [
        [title, *frame.columns],
        ["---", *["---:"] * frame.shape[1]],
        *([str(name), *map(cell, row)] for name, row in zip(
            frame.index, frame.to_numpy(object), strict=True)),
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _means(figures: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Average over tables, with medians of times, and count the tables."""
    tables = by_table(figures)[columns].dropna(how="all")
    grouped = tables.groupby("answer", sort=False)
    rules = {c: "median" if c.endswith(" s") else "mean" for c in columns}
    found = grouped.agg(rules)
    found.insert(0, "tables", grouped.size().astype(str))
    return found.dropna(axis=1, how="all")


def report(
    figures: pd.DataFrame,
    picture: str | None = None,
    show: Callable[[str], None] = print,
) -> None:
    """Print all tables and draw the figure.

    Parameters
    ----------
    figures : DataFrame
        See `figures_of`.
    picture : str, default=None
        File of the figure: mean ranks of the OOD AUROC, with the critical difference.
    show : callable, default=print
    """
    tables, seeds = (figures.index.unique(level) for level in ("table", "seed"))
    show(f"\n{len(tables)} tables, {len(seeds)} seeds")
    for title, columns in (
        ("Probabilities: means over tables, medians of seconds", PROBABILITIES),
        *(
            (f"{measure} of OOD samples: means over tables", [measure, *kinds])
            for measure, kinds in DETECTION.items()
        ),
        ("Fraction of samples flagged: means over tables", FLAGS),
    ):
        means = _means(figures, columns)
        if len(means):
            show(f"\n{title}\n\n{markdown(means, 'method')}")
    ranks, differences = rank_table(figures)
    if len(ranks):
        ordered = ranks.sort_values("NLL" if "NLL" in ranks else "AUROC")
        ordered.loc["critical difference"] = differences
        show("\nMean ranks over tables, of methods with results for all of them\n")
        show(markdown(ordered, "method", digits=2))
    if REFERENCE in figures.index and figures.index.unique("answer").size > 1:
        show(f"\nTables on which {REFERENCE} is better - worse than another method\n")
        show(markdown(wins(figures), f"{REFERENCE} against"))
        for measure in LISTED:
            show(f"\nTables on which {REFERENCE} is furthest behind: {measure}\n")
            show(markdown(worst(figures, measure), "table"))
    if picture and "AUROC" in ranks:
        draw_ranks(ranks["AUROC"].dropna().sort_values(), differences["AUROC"], picture)
        show(f"\nFigure saved to {picture}")
