"""Regularisation paths: coefficients, their norms and their number, against C."""

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from .._typing import Array
from ._c_axis import log_axis, log_positions, mark_choice
from ._end_labels import label_ends
from ._inputs import checked_names, chosen_rows, feature_names_of, require, row_labels, row_titles
from ._scores import WANTED, choice
from ._style import (
    add_legend,
    bottom,
    class_colours,
    class_name,
    leftmost,
    new_panels,
    shortened,
)
from ._traces import draw_size, draw_trace, largest, mean_over_folds, trace

if TYPE_CHECKING:
    from .._grid import CoefficientPath

KINDS = {
    "coefficients": "coefficient",
    "norm": "norm of the coefficients",
    "nonzeros": "non-zero coefficients",
}


class RegularizationPathDisplay:
    """Coefficients as the penalty is relaxed.

    Use `from_path` or `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    Cs : ndarray of shape (n_Cs,)
    coefs : ndarray of shape (n_Cs, n_classes, n_features), or list of sparse matrices
        Coefficients at each C; with two classes one row, which speaks for the second.
    classes : ndarray of shape (n_classes,)
        Labels.
    feature_names : array-like of shape (n_features,), default=None
        None: x0, x1, ...
    C : float, default=None
        The C that was chosen, to be marked.
    one_se_band : tuple of float, default=None
        The smallest and the largest C whose score is within one standard error of the best.
    l1_ratio : float, default=None
        That of the path.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels,)
        For coefficients an axes for each class (with two classes: one), else one.
    figure_ : matplotlib Figure
    lines_ : list of list of matplotlib Line2D
        For each axes the lines that have a name.
    others_ : list of matplotlib LineCollection or None
        For each axes the coefficients of the features without a label.
    labels_ : list of list of matplotlib Annotation
        For each axes the names at the ends of the lines.
    chosen_ : list of matplotlib Line2D
        For each axes the mark of the C that was chosen; empty if none was.
    bands_ : list of matplotlib Polygon
        For each axes the C within one standard error; empty if there is no band.
    legend_ : matplotlib Legend or None

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_softmax import softmax_path
    >>> from sk_softmax.plotting import RegularizationPathDisplay
    >>> path = softmax_path(*load_iris(return_X_y=True), Cs=20)
    >>> display = RegularizationPathDisplay.from_path(path, n_labels=3)
    >>> [axes.get_title() for axes in display.axes_]
    ['class 0', 'class 1', 'class 2']
    """

    def __init__(
        self,
        *,
        Cs: Array,
        coefs: Any,
        classes: Array,
        feature_names: Any = None,
        C: float | None = None,
        one_se_band: tuple[float, float] | None = None,
        l1_ratio: float | None = None,
    ) -> None:
        self.Cs = Cs
        self.coefs = coefs
        self.classes = classes
        self.feature_names = feature_names
        self.C = C
        self.one_se_band = one_se_band
        self.l1_ratio = l1_ratio

    @classmethod
    def from_path(
        cls,
        path: "CoefficientPath",
        *,
        kind: str = "coefficients",
        classes: Any = None,
        n_labels: int = 5,
        feature_names: Any = None,
        ax: Any = None,
    ) -> "RegularizationPathDisplay":
        """Draw what `softmax_path` or `ova_path` returned.

        Parameters
        ----------
        path : CoefficientPath
        feature_names : array-like of shape (n_features,), default=None
            None: those of the path, else x0, x1, ...
        kind, classes, n_labels, ax
            As for `plot`.

        Returns
        -------
        display : RegularizationPathDisplay
        """
        check_matplotlib_support(f"{cls.__name__}.from_path")
        display = cls(
            Cs=path.Cs,
            coefs=path.coefs,
            classes=path.classes,
            feature_names=path.feature_names if feature_names is None else feature_names,
            l1_ratio=path.l1_ratio,
        )
        return display.plot(ax, kind=kind, classes=classes, n_labels=n_labels)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        kind: str = "coefficients",
        classes: Any = None,
        n_labels: int = 5,
        feature_names: Any = None,
        ax: Any = None,
    ) -> "RegularizationPathDisplay":
        """Draw the path of cross-validation, with the C that was chosen.

        The path is the mean over the folds, at the l1_ratio that was chosen.

        Parameters
        ----------
        estimator : SoftmaxClassifierCV or OvAClassifierCV
            Fitted.
        feature_names : array-like of shape (n_features,), default=None
            None: the names in the training data, else x0, x1, ...
        kind, classes, n_labels, ax
            As for `plot`.

        Returns
        -------
        display : RegularizationPathDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        TypeError
            If it has no paths.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        paths = require(estimator, "coefs_paths_", WANTED)
        Cs, ratios = np.asarray(estimator.Cs_), np.asarray(estimator.l1_ratios_)
        row = int(np.argmin(np.abs(ratios - estimator.l1_ratio_)))
        found = choice(Cs, estimator.mean_scores_[[row]], estimator.standard_errors_[[row]])
        if feature_names is None:
            feature_names = feature_names_of(estimator)
        display = cls(
            Cs=Cs,
            coefs=mean_over_folds(paths[:, row])[..., : estimator.n_features_in_],
            classes=estimator.classes_,
            feature_names=feature_names,
            C=float(estimator.C_),
            one_se_band=None if found is None else tuple(Cs[found.within[[0, -1]]].tolist()),
            l1_ratio=float(ratios[row]),
        )
        return display.plot(ax, kind=kind, classes=classes, n_labels=n_labels)

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "coefficients",
        classes: Any = None,
        n_labels: int = 5,
    ) -> "RegularizationPathDisplay":
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            For coefficients one for each class, else one. None: a new figure.
        kind : {"coefficients", "norm", "nonzeros"}, default="coefficients"
            "coefficients": those of all features, an axes for each class; "norm": their Euclidean
            norm, a line for each class; "nonzeros": how many are not 0, a line for each class.
        classes : label or array-like of labels, default=None
            The classes to show. None: all.
        n_labels : int, default=5
            How many features are named in each axes: those with the largest coefficients on the
            path. The others are thin and grey.

        Returns
        -------
        display : RegularizationPathDisplay

        Raises
        ------
        ValueError
            If a parameter does not fit the path.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if kind not in KINDS:
            raise ValueError(f"kind must be in {list(KINDS)}. Got {kind!r}.")
        if n_labels < 0:
            raise ValueError(f"n_labels must be at least 0. Got {n_labels}.")
        labels = row_labels(self.classes, self.coefs[0].shape[0])
        rows = chosen_rows(labels, classes)
        self.lines_: list[list[Any]] = []
        self.others_: list[Any] = []
        self.labels_: list[list[Any]] = []
        self.chosen_: list[Any] = []
        self.bands_: list[Any] = []
        if kind == "coefficients":
            self._draw_panels(ax, labels, rows, n_labels)
        else:
            self._draw_classes(ax, kind, labels, rows)
        self.figure_ = self.axes_[0].figure
        return self

    def _ascending(self) -> tuple[Array, list[Any]]:
        """The Cs in ascending order, and the coefficients at each."""
        Cs = np.asarray(self.Cs, dtype=np.float64)
        order = np.argsort(Cs, kind="stable")
        return Cs[order], [self.coefs[place] for place in order]

    def _draw_panels(self, ax: Any, labels: Array, rows: list[int], n_labels: int) -> None:
        """Draw the coefficients of each class in an axes of its own."""
        titles = row_titles(self.classes, labels, rows)
        size = (3.7, 3.5) if len(rows) > 1 else (6.8, 4.4)
        self.axes_ = new_panels(ax, titles, size, 3, sharex=True, sharey=True)
        Cs, coefs = self._ascending()
        colours = class_colours(len(self.classes))[-labels.size :]
        names = checked_names(self.feature_names, self.coefs[0].shape[1])
        ends = []
        for axis, row, title in zip(self.axes_, rows, titles, strict=True):
            values, features = trace(coefs, row)
            top = largest(values, n_labels)
            lines, others = draw_trace(axis, log_positions(Cs), values, top, colours[row])
            self.lines_.append(lines)
            self.others_.append(others)
            ends.append((values[-1, top], [shortened(name) for name in names[features[top]]]))
            axis.set_title(title)
            self._mark(axis, Cs)
        outer = zip(self.axes_, bottom(self.axes_), leftmost(self.axes_), strict=True)
        for axis, is_bottom, is_leftmost in outer:
            axis.set_ylabel(KINDS["coefficients"] if is_leftmost else "")
            axis.tick_params(labelbottom=is_bottom)
            if not is_bottom:
                axis.set_xlabel("")
        below = ax is None and len(rows) > 1
        self.legend_ = add_legend(self.axes_[0], below=below, loc="upper left", fontsize="small")
        # Last, as they need the limits of all panels.
        for axis, row, (heights, texts) in zip(self.axes_, rows, ends, strict=True):
            self.labels_.append(label_ends(axis, heights, texts, colours[row]))

    def _draw_classes(self, ax: Any, kind: str, labels: Array, rows: list[int]) -> None:
        """Draw a line for each class."""
        self.axes_ = new_panels(ax, [KINDS[kind]], (6.4, 4.2), 1)
        axis = self.axes_[0]
        Cs, coefs = self._ascending()
        x, colours = log_positions(Cs), class_colours(len(self.classes))[-labels.size :]
        self.lines_.append([])
        for row in rows:
            label = class_name(labels[row]) if labels.size > 1 else "coefficients"
            values, _ = trace(coefs, row)
            style = {"color": colours[row], "label": label}
            line = draw_size(axis, x, values, row, counted=kind == "nonzeros", **style)
            self.lines_[0].append(line)
        self._mark(axis, Cs)
        axis.set_ylabel(KINDS[kind])
        axis.set_ylim(bottom=-0.02 * axis.get_ylim()[1])
        if kind == "nonzeros":
            axis.yaxis.get_major_locator().set_params(integer=True)
        self.legend_ = add_legend(axis, loc="upper left")

    def _mark(self, axis: Any, Cs: Array) -> None:
        """Make the x axis; mark the C that was chosen and those within one standard error."""
        log_axis(axis, Cs)
        if Cs.size > 1:
            axis.set_xlim(log_positions(Cs)[[0, -1]])
        line, area = mark_choice(axis, Cs, self.C, self.one_se_band)
        self.chosen_ += [line] if line else []
        self.bands_ += [area] if area else []
