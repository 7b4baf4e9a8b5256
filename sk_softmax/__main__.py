"""``python -m sk_softmax``: both classifiers on bundled real data, beside scikit-learn's."""

import argparse
import inspect
import time
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from ._classifiers import OvAClassifier, SoftmaxClassifier
from ._typing import Array

SEED = 0
HELD_OUT = 0.3
BINS = 10
PLOTTED = ("alcohol", "flavanoids")
COLOURS = ("tab:blue", "tab:orange", "tab:green")
HEADER = (
    "data",
    "model",
    "accuracy",
    "log loss",
    "ECE",
    "iterations",
    "converged",
    "gap <=",
    "time ms",
    "solver_",
)


class Split(NamedTuple):
    name: str
    X: Array
    X_test: Array
    y: Array
    y_test: Array


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and draw the decision regions where asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m sk_softmax",
        description="Fit both classifiers on Wine and Digits, beside scikit-learn's.",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="draw decision regions on two Wine features to FILE"
    )
    options = parser.parse_args(arguments)
    if options.plot:
        require_matplotlib(parser)
    warm_up()
    rows, cosines = [], []
    for split in splits():
        models = fit_all(split)
        rows += [row(split, name, *model) for name, model in models.items()]
        cosines.append((split.name, class_cosines(models)))
    print(table([HEADER, *rows]))
    print("\nCosine of each class's one-vs-all coefficients with OneVsRestClassifier's:")
    for name, values in cosines:
        print(f"  {name:18} " + " ".join(f"{value:.4f}" for value in values))
    print(
        "\n30% of the rows are held out; ECE: expected calibration error, 10 bins; gap: upper bound"
        "\non the objective's distance from its optimum (one-vs-all: the largest over classes)."
    )
    if options.plot:
        plot(options.plot)
        print(f"\nDecision regions: {options.plot}")


def warm_up() -> None:
    """Compile the kernels, or load them from the cache, before anything is timed."""
    X, y = load_iris(return_X_y=True)
    start = time.perf_counter()
    SoftmaxClassifier().fit(X, y)
    OvAClassifier().fit(X, y)
    print(f"Kernels ready in {time.perf_counter() - start:.1f} s (compiled once, then cached).\n")


def splits() -> list[Split]:
    """The data sets, a fixed 30% of each held out."""
    result = []
    for name, load, scaled in (
        ("Wine, standardised", load_wine, True),
        ("Wine, raw", load_wine, False),
        ("Digits, raw", load_digits, False),
    ):
        X, y = load(return_X_y=True)
        X, X_test, y, y_test = train_test_split(
            X, y, test_size=HELD_OUT, random_state=SEED, stratify=y
        )
        if scaled:
            scaler = StandardScaler().fit(X)
            X, X_test = scaler.transform(X), scaler.transform(X_test)
        result.append(Split(name, X, X_test, y, y_test))
    return result


def fit_all(split: Split) -> dict[str, tuple[Any, float, bool]]:
    """Each model with its fit's seconds and whether it went without a ConvergenceWarning."""
    models: dict[str, Any] = {
        "SoftmaxClassifier": SoftmaxClassifier(),
        "LogisticRegression": LogisticRegression(),
        "OvAClassifier": OvAClassifier(),
        "OneVsRestClassifier": OneVsRestClassifier(LogisticRegression()),
    }
    fitted = {}
    for name, model in models.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.perf_counter()
            model.fit(split.X, split.y)
            seconds = time.perf_counter() - start
        warned = any(issubclass(w.category, ConvergenceWarning) for w in caught)
        fitted[name] = (model, seconds, not warned)
    return fitted


def row(split: Split, name: str, model: Any, seconds: float, converged: bool) -> tuple[str, ...]:
    """One line of the table."""
    probability = model.predict_proba(split.X_test)
    predicted = model.classes_[probability.argmax(axis=1)]
    gap = getattr(model, "dual_gap_", None)
    return (
        split.name,
        name,
        f"{accuracy_score(split.y_test, predicted):.3f}",
        f"{log_loss(split.y_test, probability):.4f}",
        f"{calibration_error(split.y_test, predicted, probability):.4f}",
        str(iterations(model)),
        "yes" if converged else "NO",
        "-" if gap is None else f"{np.max(gap):.0e}",
        f"{1000 * seconds:.1f}",
        getattr(model, "solver_", "lbfgs"),
    )


def iterations(model: Any) -> int:
    """Iterations of the solver, the most over a model's problems."""
    parts = getattr(model, "estimators_", [model])
    return int(max(np.max(part.n_iter_) for part in parts))


def calibration_error(y: Array, predicted: Array, probability: Array) -> float:
    """Expected calibration error of the predicted classes' probabilities, in equal bins."""
    confidence = probability.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = np.bincount(bins, (predicted == y) - confidence, minlength=BINS)
    return float(np.abs(error).sum() / y.size)


def class_cosines(models: dict[str, tuple[Any, float, bool]]) -> Array:
    """Cosine of the angle between the one-vs-all coefficient vectors of each class."""
    ours = models["OvAClassifier"][0].coef_
    theirs = np.vstack([e.coef_ for e in models["OneVsRestClassifier"][0].estimators_])
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return (ours * theirs).sum(axis=1) / lengths


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows as aligned columns: text to the left, numbers to the right."""
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    left = {0, 1, len(widths) - 1}
    lines = [
        "  ".join(
            cell.ljust(width) if c in left else cell.rjust(width)
            for c, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def require_matplotlib(parser: argparse.ArgumentParser) -> None:
    """Exit with a clear message where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        parser.exit(
            1, "--plot needs matplotlib, which is not installed: pip install 'sk_softmax[plot]'\n"
        )


def plot(file: str) -> None:
    """Decision regions of both classifiers on two Wine features, side by side."""
    from matplotlib.figure import Figure
    from sklearn.inspection import DecisionBoundaryDisplay

    wine = load_wine()
    X = wine.data[:, [wine.feature_names.index(name) for name in PLOTTED]]
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, model in ((left, SoftmaxClassifier()), (right, OvAClassifier())):
        model.fit(X, wine.target)
        DecisionBoundaryDisplay.from_estimator(
            model,
            X,
            response_method="predict",
            ax=axes,
            **class_colours(DecisionBoundaryDisplay),
            alpha=0.3,
            xlabel=PLOTTED[0],
            ylabel=PLOTTED[1] if axes is left else "",
            grid_resolution=300,
        )
        for label, (name, colour) in enumerate(zip(wine.target_names, COLOURS, strict=True)):
            rows = wine.target == label
            axes.scatter(
                X[rows, 0], X[rows, 1], s=18, c=colour, edgecolor="black", linewidth=0.4, label=name
            )
        axes.set_title(f"{type(model).__name__}: accuracy {model.score(X, wine.target):.3f}")
    right.legend(title="cultivar", loc="upper right")
    figure.savefig(file, dpi=120)


def class_colours(display: Any) -> dict[str, Any]:
    """The keyword that gives a decision boundary display `COLOURS`, in any scikit-learn."""
    if "multiclass_colors" in inspect.signature(display.from_estimator).parameters:
        return {"multiclass_colors": list(COLOURS)}
    from matplotlib.colors import ListedColormap

    return {"cmap": ListedColormap(COLOURS)}


if __name__ == "__main__":
    main()
