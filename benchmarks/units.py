"""The units test: a few columns in other units, and who still finds the optimum.

    python -m benchmarks.units

For each seed: the optimum of F, our default fit, and scikit-learn's LogisticRegression by default
and at ``max_iter=10000, tol=1e-8``; F is recomputed by `benchmarks.objective` for all of them.
"""

import argparse
import sys
import warnings
from pathlib import Path

from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

if not __package__:  # run as a file: `python benchmarks/units.py`
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.adapters import ours
from benchmarks.adapters.newton import DampedNewton
from benchmarks.objective import objective
from benchmarks.report import table

OUTPUT = Path(__file__).parent / "results" / "units.md"
SEEDS = range(6)
COLUMNS = ("seed", "K", "optimum", "ours", "warns", "ours, tight")
COLUMNS += ("LR", "warns", "LR, tight", "warns")
TIGHT = {"max_iter": 10_000, "tol": 1e-8}

INTRODUCTION = """# The units test

`make_classification` (100 x 60) with five columns in other units; F recomputed apart from every
library. "optimum": a damped Newton method on standardised columns with the penalty in the
user's units. "ours": `SoftmaxClassifier()`; "ours, tight": `tol=1e-8`. "LR":
`LogisticRegression()`; "LR, tight": `max_iter=10000, tol=1e-8`. "warns": whether the fit warned.
"""


def units_problem(seed):
    """Return X and y with columns 0, 1, 7 and 9 in other units."""
    X, y = make_classification(
        n_samples=100,
        n_features=60,
        n_informative=20,
        n_classes=2 + seed % 3,
        random_state=seed,
    )
    X[:, 1] *= 1e3
    X[:, 1] -= 1e5
    X[:, 0] *= 1e-2
    X[:, 7] *= 1e6
    X[:, 9] = X[:, 9] * 1e-9 + 1
    return X, y


def fitted(estimator, X, y):
    """Fit; return F and whether the fit warned."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y)
    value = objective(
        X, y, estimator.coef_, estimator.intercept_, C=1.0, l1_ratio=0.0, formulation="softmax"
    )
    return value[0], bool(caught)


def line(seed):
    """Return the table's line of one seed."""
    X, y = units_problem(seed)
    cells = [seed, 2 + seed % 3, f"{fitted(DampedNewton(), X, y)[0]:.6f}"]
    if ours.unavailable():
        cells += ["", "", ""]
    else:
        from sk_softmax import SoftmaxClassifier

        value, warned = fitted(SoftmaxClassifier(), X, y)
        tight, _ = fitted(SoftmaxClassifier(tol=1e-8), X, y)
        cells += [f"{value:.6f}", _yes(warned), f"{tight:.6f}"]
    for parameters in ({}, TIGHT):
        value, warned = fitted(LogisticRegression(**parameters), X, y)
        cells += [f"{value:.6f}", _yes(warned)]
    return cells


def main(argv=None):
    """Print the table and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.units", description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args(argv)
    text = table(COLUMNS, [line(seed) for seed in SEEDS])
    print(text, end="")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(f"{INTRODUCTION}\n{text}", encoding="utf-8")


def _yes(flag):
    return "yes" if flag else "no"


if __name__ == "__main__":
    main()
