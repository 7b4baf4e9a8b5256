"""How fits converge: the bound on what is left to gain, against iterations and time."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._optional_dependencies import check_matplotlib_support

from .._callbacks import record_convergence
from .._classifiers import OvAClassifier, SoftmaxClassifier
from .._typing import Array
from ._inputs import named_estimators
from ._style import PALETTE, add_legend, dash, every, leftmost, marker, new_panels

MEASURES = {
    "dual_gap": "duality gap (bound on F − F*)",
    "optimality": "largest KKT violation",
    "objective": "objective F",
}


class ConvergenceDisplay:
    """A certificate of convergence at each iteration, for one or several classifiers.

    Of one-vs-all, which solves a problem for each class, the worst class is shown.

    Use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    records : dict of str to dict of str to ndarray
        By name of the classifier: ``"iteration"``, ``"seconds"`` (n_iterations,), and
        ``"objective"``, ``"optimality"``, ``"dual_gap"`` (n_iterations,) or
        (n_iterations, n_problems).

    Attributes
    ----------
    axes_ : ndarray of shape (2,) or (1,)
        The axes: against iterations, against time.
    figure_ : matplotlib Figure
    lines_ : list of list of matplotlib Line2D
        For each axes the curves of the classifiers.
    measure_ : str
        What is shown.
    legend_ : matplotlib Legend or None

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_softmax import OvAClassifier, SoftmaxClassifier
    >>> from sk_softmax.plotting import ConvergenceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> display = ConvergenceDisplay.from_estimator([SoftmaxClassifier(), OvAClassifier()], X, y)
    >>> display.measure_
    'dual_gap'
    """

    def __init__(self, *, records: dict[str, dict[str, Array]]) -> None:
        self.records = records

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        names: Any = None,
        measure: str = "auto",
        against: str = "both",
        warm_up: bool = True,
        ax: Any = None,
    ) -> "ConvergenceDisplay":
        """Fit clones of classifiers, and draw how they converged.

        Parameters
        ----------
        estimator : classifier, sequence of classifiers, or mapping of names to classifiers
            Fitted or not: `SoftmaxClassifier` or `OvAClassifier`.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
        names : str or sequence of str, default=None
            Names of the classifiers. None: the keys, or the names of the classes.
        warm_up : bool, default=True
            Whether to fit each once before, so that its times leave compilation out.
        measure, against, ax
            As for `plot`.

        Returns
        -------
        display : ConvergenceDisplay

        Raises
        ------
        TypeError
            If a classifier is another.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        named = named_estimators(estimator, names)
        for name, each in named.items():
            plain = isinstance(each, SoftmaxClassifier | OvAClassifier) and hasattr(each, "C")
            if not plain:  # cross-validation makes many fits, and has no C of its own
                raise TypeError(
                    f"{name} must be a SoftmaxClassifier or an OvAClassifier. "
                    f"Got {type(each).__name__}."
                )
        if warm_up:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the next fit says it
                for each in named.values():
                    record_convergence(each, X, y, sample_weight=sample_weight)
        records = {
            name: record_convergence(each, X, y, sample_weight=sample_weight)
            for name, each in named.items()
        }
        return cls(records=records).plot(ax, measure=measure, against=against)

    def plot(
        self, ax: Any = None, *, measure: str = "auto", against: str = "both"
    ) -> "ConvergenceDisplay":
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            Two if `against` is "both", else one. None: a new figure.
        measure : {"auto", "dual_gap", "optimality", "objective"}, default="auto"
            "auto": the duality gap, or where there is none (without a penalty) the largest
            violation of the optimality conditions. The axis is logarithmic, save for
            "objective". What is too small for a double beside the objective is drawn as that
            limit.
        against : {"both", "iteration", "seconds"}, default="both"

        Returns
        -------
        display : ConvergenceDisplay

        Raises
        ------
        ValueError
            If a parameter has a value it cannot have.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if measure not in ("auto", *MEASURES):
            raise ValueError(f"measure must be 'auto' or in {list(MEASURES)}. Got {measure!r}.")
        if against not in ("both", "iteration", "seconds"):
            raise ValueError(f"against must be 'both', 'iteration' or 'seconds'. Got {against!r}.")
        self.measure_ = self._measure() if measure == "auto" else measure
        abscissae = ["iteration", "seconds"] if against == "both" else [against]
        size = (4.4, 3.8) if len(abscissae) > 1 else (6.4, 4.2)
        self.axes_ = new_panels(ax, abscissae, size, 2, sharey=True)
        self.figure_ = self.axes_[0].figure
        self.lines_ = [
            self._draw(axis, abscissa) for axis, abscissa in zip(self.axes_, abscissae, strict=True)
        ]
        for axis, is_leftmost in zip(self.axes_, leftmost(self.axes_), strict=True):
            axis.set_ylabel(MEASURES[self.measure_] if is_leftmost else "")
        self.legend_ = add_legend(self.axes_[-1], beside=True) if len(self.records) > 1 else None
        return self

    def _measure(self) -> str:
        """The duality gap, if every classifier has one."""
        certified = all(np.isfinite(record["dual_gap"]).any() for record in self.records.values())
        return "dual_gap" if certified else "optimality"

    def _draw(self, axis: Any, abscissa: str) -> list[Any]:
        """The curves against one of the abscissae."""
        longest = max(np.max(record["seconds"], initial=0.0) for record in self.records.values())
        milliseconds = abscissa == "seconds" and longest < 1
        drawn = []
        for place, (name, record) in enumerate(self.records.items()):
            values = self._values(record)
            x = np.asarray(record[abscissa], dtype=np.float64) * (1000 if milliseconds else 1)
            (line,) = axis.plot(
                x,
                values,
                color=PALETTE[place % len(PALETTE)],
                linestyle=dash(place),
                marker=marker(place),
                markersize=4,
                markevery=every(x.size),
                linewidth=1.5,
                label=name,
            )
            drawn.append(line)
        if self.measure_ != "objective":
            axis.set_yscale("log")
        axis.grid(axis="y", color="0.92", linewidth=0.8)
        axis.set_axisbelow(True)
        if abscissa == "iteration":
            axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("iteration" if abscissa == "iteration" else _time(milliseconds))
        return drawn

    def _values(self, record: dict[str, Array]) -> Array:
        """The measure of the worst problem at each iteration, at least what a double resolves."""
        values = np.asarray(record[self.measure_], dtype=np.float64)
        if self.measure_ != "objective":
            limit = np.finfo(np.float64).eps * np.abs(record["objective"])
            values = np.maximum(values, np.maximum(limit, np.finfo(np.float64).tiny))
        if values.ndim == 1:
            return values
        if self.measure_ == "objective":  # their sum is what one-vs-all minimises
            return values.sum(axis=1)
        return np.fmax.reduce(values, axis=1)


def _time(milliseconds: bool) -> str:
    """Label of the axis of time."""
    return "time (ms)" if milliseconds else "time (s)"
