"""Fits by glmnet at its tightest, kept as data that tests compare with.

    python -m benchmarks.glmnet.values        # needs R with glmnet; writes the two CSV files

The problems are those of `benchmarks.problems` with an L1 penalty whose data come with
scikit-learn. ``losses.csv`` has what glmnet says of each fit: its own mean loss, the penalty left
out, for each problem that converges by itself. ``coefficients.csv`` has every coefficient that is
not zero, to the last bit, and the intercepts, whose feature is empty.
"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

if not __package__:  # run as a file: `python benchmarks/glmnet/values.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import problems
from benchmarks.adapters import glmnet

__all__ = ["COEFFICIENTS", "LOSSES", "cases", "read", "write"]

HERE = Path(__file__).parent
LOSSES, COEFFICIENTS = HERE / "losses.csv", HERE / "coefficients.csv"
CASE = ("problem", "formulation")
LOSS_FIELDS = (*CASE, "C", "l1_ratio", "fit_intercept", "thresh", "row", "loss", "glmnet", "R")
COEFFICIENT_FIELDS = (*CASE, "row", "feature", "value")
THRESH = glmnet.TOLS[-1]


def main(argv=None):
    """Fit every case and write the two files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.glmnet.values", description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE, help="where the files go")
    args = parser.parse_args(argv)
    if reason := glmnet.unavailable():
        parser.error(reason)
    write(cases(), args.folder / LOSSES.name, args.folder / COEFFICIENTS.name)


def cases():
    """Return the problems, as pairs of a problem and a formulation."""
    chosen = problems.select(["l1"])
    return [(p, formulation) for p in chosen if not p.files for formulation in p.formulations]


def write(chosen, losses, coefficients):
    """Fit cases by glmnet and write what comes of it.

    Parameters
    ----------
    chosen : list of (Problem, str)
        As `cases` returns them.
    losses, coefficients : Path
        The files.
    """
    told, kept = [], []
    for problem, formulation in chosen:
        case = problems.load_case(problem, formulation)
        fit = glmnet.Glmnet(case, THRESH).fit(case.X, case.y)
        versions = glmnet.Session.of(case).versions
        name = (problem.name, formulation)
        stated = (case.C, case.l1_ratio, case.fit_intercept, THRESH)
        told += [(*name, *stated, k, repr(v), *versions) for k, v in enumerate(fit.loss_.tolist())]
        for k, j in np.argwhere(fit.coef_):
            kept.append((*name, k, j, repr(fit.coef_[k, j].item())))
        kept += [(*name, k, "", repr(v)) for k, v in enumerate(fit.intercept_.tolist())]
    for path, header, lines in (
        (losses, LOSS_FIELDS, told),
        (coefficients, COEFFICIENT_FIELDS, kept),
    ):
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *lines])


def read(problem, formulation, n_features, losses=LOSSES, coefficients=COEFFICIENTS):
    """Return one case's fit from the files.

    Parameters
    ----------
    problem, formulation : str
    n_features : int
    losses, coefficients : Path

    Returns
    -------
    coef : ndarray of shape (R, p)
    intercept : ndarray of shape (R,)
    loss : ndarray of shape (m,)
        The mean loss by glmnet's account.
    """
    loss = np.array([float(row["loss"]) for row in _rows(losses, problem, formulation)])
    rows = _rows(coefficients, problem, formulation)
    n_rows = 1 + max(int(row["row"]) for row in rows)
    coef, intercept = np.zeros((n_rows, n_features)), np.zeros(n_rows)
    for row in rows:
        if row["feature"]:
            coef[int(row["row"]), int(row["feature"])] = float(row["value"])
        else:
            intercept[int(row["row"])] = float(row["value"])
    return coef, intercept, loss


def _rows(path, problem, formulation):
    """The lines of one case."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if (row["problem"], row["formulation"]) == (problem, formulation)]
    if not found:
        raise LookupError(f"{path.name} has nothing of {problem} {formulation}.")
    return found


if __name__ == "__main__":
    main()
