"""Reliability: how often what a classifier predicts with some probability is true."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from .._typing import Array
from ._calibration import checked_probability, draw_histogram, outcomes, reliability_curve
from ._inputs import chosen_rows, named_estimators, require
from ._style import add_legend, class_colours, dash, leftmost, marker, paired_panels, verbatim

TOP, BY_CLASS = "top-label", "per-class"


class ReliabilityDisplay:
    """Reliability curves of classifiers beside each other, above histograms of probabilities.

    The curve of a calibrated classifier follows the diagonal. Under it, the classifier is surer
    than it should be; above it, not as sure as it could be.

    Use `from_estimator` or `from_predictions` to make one. All parameters are stored as
    attributes.

    Parameters
    ----------
    curves : list of list of sklearn.calibration.CalibrationDisplay
        The curves of each classifier: one ("top-label") or one for each class.
    names : list of str
        Names of the classifiers.
    labels : ndarray of shape (n_classes,)
        Labels of all classes.
    classes : ndarray of shape (n_curves,)
        Those that are shown; for "top-label" this has no meaning.
    errors : ndarray of shape (n_classifiers,)
        Expected calibration error: mean distance between curve and diagonal over the rows; for
        "per-class" its mean over the classes shown.
    kind : {"top-label", "per-class"}, default="top-label"
        Whose probability: that of the predicted class, or those of all classes.
    n_bins : int, default=10
        Number of bins of the histograms.

    Attributes
    ----------
    axes_ : ndarray of shape (n_classifiers,)
        The axes of the curves.
    histogram_axes_ : ndarray of shape (n_classifiers,) or None
        The axes of the histograms below them. None where axes were given and are too few.
    figure_ : matplotlib Figure
    lines_ : list of list of matplotlib Line2D
        The curves.
    histograms_ : list of list of matplotlib artists
        The histograms.
    legend_ : matplotlib Legend

    See Also
    --------
    sklearn.calibration.CalibrationDisplay : Draws one curve of a binary classifier.

    References
    ----------
    The error of the predicted class: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On calibration of
    modern neural networks, ICML 2017. By class: M. Kull et al., Beyond temperature scaling,
    NeurIPS 2019.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from sk_softmax import OvAClassifier, SoftmaxClassifier
    >>> from sk_softmax.plotting import ReliabilityDisplay
    >>> X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
    >>> fitted = [SoftmaxClassifier(C=0.01).fit(X, y), OvAClassifier(C=0.01).fit(X, y)]
    >>> display = ReliabilityDisplay.from_estimator(fitted, X_test, y_test)
    >>> len(display.axes_), len(display.lines_[0])
    (2, 1)
    """

    def __init__(
        self,
        *,
        curves: list[list[Any]],
        names: list[str],
        labels: Array,
        classes: Array,
        errors: Array,
        kind: str = TOP,
        n_bins: int = 10,
    ) -> None:
        self.curves = curves
        self.names = names
        self.labels = labels
        self.classes = classes
        self.errors = errors
        self.kind = kind
        self.n_bins = n_bins

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        names: Any = None,
        kind: str = TOP,
        classes: Any = None,
        n_bins: int = 10,
        strategy: str = "uniform",
        ax: Any = None,
    ) -> "ReliabilityDisplay":
        """Draw the curves of fitted classifiers on data that they have not seen.

        Parameters
        ----------
        estimator : classifier, sequence of classifiers, or mapping of names to classifiers
            Fitted, with ``predict_proba``.
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        names : str or sequence of str, default=None
            Names of the classifiers. None: the keys, or the names of the classes.
        kind, classes, n_bins, strategy, ax
            As for `from_predictions`.

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If a classifier is not fitted.
        TypeError
            If it has no probabilities.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        fitted = named_estimators(estimator, names)
        probabilities = {}
        labels = []
        for name, each in fitted.items():
            labels.append(require(each, "classes_", "a classifier"))
            predict = require(each, "predict_proba", "a classifier with probabilities")
            probabilities[name] = predict(X)
        if any(not np.array_equal(labels[0], other) for other in labels[1:]):
            raise ValueError("The classifiers must know the same classes.")
        return cls.from_predictions(
            y,
            probabilities,
            labels[0],
            kind=kind,
            classes=classes,
            n_bins=n_bins,
            strategy=strategy,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        probabilities: Any,
        labels: Any,
        *,
        kind: str = TOP,
        classes: Any = None,
        n_bins: int = 10,
        strategy: str = "uniform",
        ax: Any = None,
    ) -> "ReliabilityDisplay":
        """Draw the curves of probabilities.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            True labels.
        probabilities : array-like of shape (n_samples, n_classes), or mapping of names to such
            Of one classifier, or of several by their names.
        labels : array-like of shape (n_classes,)
            Labels of the columns.
        kind : {"top-label", "per-class"}, default="top-label"
            "top-label": the probability of the predicted class, against how often it is true;
            "per-class": that of each class, against how often a row is of the class.
        classes : label or array-like of labels, default=None
            For "per-class": the classes to show. None: all, with two classes the second.
        n_bins : int, default=10
            Number of bins.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins equally wide, or with equally many rows.
        ax : matplotlib Axes or array-like of Axes, default=None
            One for each classifier, for the curves alone, or two for each: first those of the
            curves, then those of the histograms. None: a new figure.

        Returns
        -------
        display : ReliabilityDisplay

        Raises
        ------
        ValueError
            If a parameter has a value it cannot have, or the shapes do not fit.
        """
        check_matplotlib_support(f"{cls.__name__}.from_predictions")
        if kind not in (TOP, BY_CLASS):
            raise ValueError(f"kind must be '{TOP}' or '{BY_CLASS}'. Got {kind!r}.")
        if not isinstance(probabilities, Mapping):
            probabilities = {"Classifier": probabilities}
        y, labels = np.asarray(y), np.asarray(labels)
        if classes is None and labels.size == 2:
            classes = labels[1:]
        rows = chosen_rows(labels, classes)
        curves, errors = [], []
        for name, values in probabilities.items():
            probability = checked_probability(values, y, labels)
            pairs = outcomes(y, probability, labels, rows if kind == BY_CLASS else None)
            found = [reliability_curve(*pair, n_bins, strategy, name) for pair in pairs]
            curves.append([curve for curve, _ in found])
            errors.append(np.mean([error for _, error in found]))
        display = cls(
            curves=curves,
            names=list(probabilities),
            labels=labels,
            classes=labels[rows],
            errors=np.array(errors),
            kind=kind,
            n_bins=n_bins,
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> "ReliabilityDisplay":
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            As for `from_predictions`.

        Returns
        -------
        display : ReliabilityDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        codes = chosen_rows(self.labels, self.classes) if self.kind == BY_CLASS else [0]
        colours = [class_colours(self.labels.size)[code] for code in codes]
        self.axes_, self.histogram_axes_ = paired_panels(ax, self.names)
        self.figure_ = self.axes_[0].figure
        self.lines_: list[list[Any]] = []
        self.histograms_: list[list[Any]] = []
        measure = "ECE" if self.kind == TOP else "class-wise ECE"
        for place, (axis, is_leftmost) in enumerate(
            zip(self.axes_, leftmost(self.axes_), strict=True)
        ):
            self._draw_curves(axis, self.curves[place], codes, colours)
            axis.set_title(f"{self.names[place]}\n{measure} {self.errors[place]:.3f}")
            axis.set_xlabel(self._words()[0])
            axis.set_ylabel(self._words()[1] if is_leftmost else "")
            if self.histogram_axes_ is not None:
                axis.set_xlabel("")
                below = self.histogram_axes_[place]
                drawn = draw_histogram(below, self.curves[place], self.n_bins, codes, colours)
                self.histograms_.append(drawn)
                below.set_xlabel(self._words()[0])
                below.set_ylabel("rows" if is_leftmost else "")
        by_class = self.kind == BY_CLASS
        self.legend_ = add_legend(
            self.axes_[-1], beside=by_class, title="class" if by_class else None
        )
        return self

    def _words(self) -> tuple[str, str]:
        """Labels of the axes."""
        if self.kind == TOP:
            return "probability of the predicted class", "share predicted rightly"
        return "probability of the class", "share of the class"

    def _draw_curves(
        self, axis: Any, curves: list[Any], codes: list[int], colours: list[str]
    ) -> None:
        """Draw the curves of one classifier, with the colour, marker and dash of each class."""
        for curve, code, colour in zip(curves, codes, colours, strict=True):
            curve.plot(
                ax=axis,
                name="predicted class" if self.kind == TOP else verbatim(self.labels[code]),
                color=colour,
                marker=marker(code),
                linestyle=dash(code),
                markersize=4.5,
                linewidth=1.5,
            )
        axis.get_legend().remove()
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        self.lines_.append([curve.line_ for curve in curves])
