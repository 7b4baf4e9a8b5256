"""Rows of results: their fields, and the CSV file that keeps them."""

import csv
import os
import platform
from pathlib import Path

import numpy as np

from benchmarks.objective import GOAL, suboptimality

__all__ = ["FIELDS", "read", "row_of", "write"]

FIELDS = (
    "problem",
    "formulation",
    "n",
    "p",
    "K",
    "C",
    "l1_ratio",
    "fit_intercept",
    "library",
    "version",
    "role",  # ours, peer, reference
    "solver",
    "options",
    "n_jobs",
    "threads",  # limit on BLAS and OpenMP threads
    "tol",  # empty: the library's default
    "status",  # reached, missed, cut off, error
    "median_s",
    "n_repeats",
    "cold_s",  # ours: first fit of a fresh process, with imports and the JIT or its cache
    "limit_s",  # where it was cut off
    "objective",  # F recomputed, summed over the classes of one-vs-all
    "null_objective",
    "suboptimality",  # (F - F_best) / F_null, of the worst class
    "n_nonzero",  # coefficients that are not exactly zero, intercepts aside
    "warnings",
    "n_iter",
    "n_evaluations",  # ours: of F and its gradient, in passes over all rows
    "chosen_solver",
    "converged",
    "optimality",
    "dual_gap",  # over F_null, of the worst class
    "objective_error",  # |objective_ - F recomputed| / F_null, of the worst class
    "cpus",
    "python",
)


def row_of(problem, formulation, trial, best, winner):
    """Return the row of a lane.

    Parameters
    ----------
    problem : Problem
    formulation : str
    trial : Trial
    best : ndarray
        The optimum.
    winner : (tol, Outcome) or None
        The fit that counts; without one, the last fit is shown as a miss.
    """
    row = dict.fromkeys(FIELDS, "")
    lane, shape = trial.lane, trial.worker.shape()
    row.update(
        problem=problem.name,
        formulation=formulation,
        n=shape.n,
        p=shape.p,
        K=shape.n_classes,
        C=problem.C,
        l1_ratio=problem.l1_ratio,
        fit_intercept=problem.fit_intercept,
        library=trial.worker.library,
        version=shape.version,
        role=trial.role,
        solver=lane.solver,
        options=" ".join(f"{name}={value:g}" for name, value in lane.options.items()),
        n_jobs="" if lane.n_jobs is None else lane.n_jobs,
        threads="" if lane.threads is None else lane.threads,
        status=_status(trial, winner),
        warnings=trial.failed,
        limit_s="" if trial.cut_off is None else trial.cut_off,
        null_objective=float(shape.null.sum()),
        cpus=os.cpu_count(),
        python=platform.python_version(),
    )
    counted = winner or (trial.probes[-1] if trial.probes else None)
    if counted:
        row.update(_fit_fields(trial, *counted, shape.null, best))
    if row["status"] == "reached" and row["suboptimality"] > GOAL:
        row["status"] = "missed"  # ours is shown wherever its default fit ends
    return row


def _status(trial, winner):
    """Return the one word for how a lane ended."""
    if winner:
        return "reached"
    if trial.failed:
        return "error"
    return "missed" if trial.cut_off is None else "cut off"


def _fit_fields(trial, tol, outcome, null, best):
    """The fields that need a fit that ended."""
    details = outcome.details
    seconds = trial.seconds or outcome.seconds[-1:]
    fields = {
        "tol": "" if tol is None else tol,
        "median_s": float(np.median(seconds)),
        "n_repeats": len(seconds),
        "objective": float(outcome.objective.sum()),
        "suboptimality": suboptimality(outcome.objective, best, null),
        "n_nonzero": "" if outcome.n_nonzero is None else outcome.n_nonzero,
        "warnings": trial.failed or outcome.warnings,
        "n_iter": details.get("n_iter", ""),
        "n_evaluations": details.get("n_evaluations", ""),
        "chosen_solver": details.get("chosen_solver", ""),
        "converged": details.get("converged", ""),
        "optimality": details.get("optimality", ""),
    }
    if trial.role == "ours" and trial.lane.n_jobs is None:
        fields["cold_s"] = outcome.seconds[0]
    if "objective" in details:
        error = np.abs(details["objective"] - outcome.objective) / null
        fields["objective_error"] = float(np.max(error))
    if "dual_gap" in details:
        fields["dual_gap"] = float(np.max(details["dual_gap"] / null))
    return fields


def read(path):
    """Return the rows of a CSV file, as dicts of strings; none if there is no file.

    A field that the file does not have, being older than the field, is empty.
    """
    if not Path(path).exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [dict.fromkeys(FIELDS, "") | row for row in csv.DictReader(file)]


def write(path, rows):
    """Write rows to a CSV file; rows already there stay unless their case is in `rows`."""
    measured = {(row["problem"], row["formulation"]) for row in rows}
    kept = [row for row in read(path) if (row["problem"], row["formulation"]) not in measured]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        writer.writerows(_short(row) for row in rows)


def _short(row):
    """Floats to six figures, so that a committed file stays readable."""
    return {
        name: f"{value:.6g}" if isinstance(value, float) and name != "objective" else value
        for name, value in row.items()
    }
