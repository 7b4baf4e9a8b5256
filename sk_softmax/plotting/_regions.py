"""Decision regions on two features."""

import inspect
from typing import Any

import numpy as np
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import accuracy_score
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_consistent_length

from .._typing import Array
from ._grid import grid_over, like, two_features
from ._inputs import named_estimators
from ._style import add_legend, bottom, class_colours, leftmost, marker, new_panels, verbatim

FAINTEST, STRONGEST = 0.08, 0.55  # opacity of a region, by the classifier's confidence


class DecisionRegionsDisplay:
    """Which class classifiers predict where, on two features, beside each other.

    Use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    xx0, xx1 : ndarray of shape (n_rows, n_columns)
        The grid, as from `numpy.meshgrid`, in the units of the features.
    predictions : list of ndarray of shape (n_rows, n_columns)
        For each classifier the predicted classes, as places in `classes`.
    classes : ndarray of shape (n_classes,)
        Labels, sorted.
    names : list of str
        Names of the classifiers.
    X : ndarray of shape (n_samples, 2), default=None
        Points to draw.
    y : ndarray of shape (n_samples,), default=None
        Their labels.
    confidences : list of ndarray of shape (n_rows, n_columns), default=None
        Probabilities of the predicted classes. Where they are given, regions fade towards their
        borders.
    accuracies : ndarray of shape (n_classifiers,), default=None
        Share of the points that each classifier predicts.
    feature_names : sequence of two str, default=None
        Labels of the axes.

    Attributes
    ----------
    axes_ : ndarray of shape (n_classifiers,)
        The axes, one for each classifier.
    figure_ : matplotlib Figure
    surfaces_ : list of matplotlib QuadMesh
        The regions.
    borders_ : list of list of matplotlib ContourSet
        The border of each class that is predicted somewhere.
    points_ : list of list of matplotlib PathCollection
        The points of each class.
    legend_ : matplotlib Legend or None

    See Also
    --------
    sklearn.inspection.DecisionBoundaryDisplay : Draws the regions of one classifier.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_softmax import OvAClassifier, SoftmaxClassifier
    >>> from sk_softmax.plotting import DecisionRegionsDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> X = X[["alcohol", "flavanoids"]]
    >>> fitted = [SoftmaxClassifier().fit(X, y), OvAClassifier().fit(X, y)]
    >>> display = DecisionRegionsDisplay.from_estimator(fitted, X, y)
    >>> [axes.get_title().splitlines()[0] for axes in display.axes_]
    ['SoftmaxClassifier', 'OvAClassifier']
    """

    def __init__(
        self,
        *,
        xx0: Array,
        xx1: Array,
        predictions: list[Array],
        classes: Array,
        names: list[str],
        X: Array | None = None,
        y: Array | None = None,
        confidences: list[Array] | None = None,
        accuracies: Array | None = None,
        feature_names: Any = None,
    ) -> None:
        self.xx0 = xx0
        self.xx1 = xx1
        self.predictions = predictions
        self.classes = classes
        self.names = names
        self.X = X
        self.y = y
        self.confidences = confidences
        self.accuracies = accuracies
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        names: Any = None,
        response_method: str = "predict",
        grid_resolution: int = 300,
        margin: float = 0.06,
        ax: Any = None,
    ) -> "DecisionRegionsDisplay":
        """Draw the regions of fitted classifiers, and data.

        Parameters
        ----------
        estimator : classifier, sequence of classifiers, or mapping of names to classifiers
            Fitted on two features.
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, 2)
            The points to draw; they also say where the grid lies.
        y : array-like of shape (n_samples,)
            Their labels.
        names : str or sequence of str, default=None
            Names of the classifiers. None: the keys, or the names of the classes.
        response_method : {"predict", "predict_proba"}, default="predict"
            "predict": plain regions; "predict_proba": the more probable the class, the stronger
            the colour.
        grid_resolution : int, default=300
            Number of grid points by side, at least 2.
        margin : float, default=0.06
            How far the grid extends beyond the points, as a share of each feature's range: so
            the units of the features do not matter.
        ax : matplotlib Axes or array-like of Axes, default=None
            One for each classifier. None: a new figure.

        Returns
        -------
        display : DecisionRegionsDisplay

        Raises
        ------
        ValueError
            If there are not two features, or a parameter has a value it cannot have.
        sklearn.exceptions.NotFittedError
            If a classifier is not fitted.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if response_method not in ("predict", "predict_proba"):
            raise ValueError(
                f"response_method must be 'predict' or 'predict_proba'. Got {response_method!r}."
            )
        if grid_resolution < 2 or margin < 0:
            raise ValueError(
                "grid_resolution must be at least 2 and margin at least 0. "
                f"Got {grid_resolution} and {margin}."
            )
        fitted = named_estimators(estimator, names)
        points = two_features(X, fitted)
        labels = np.asarray(y)
        check_consistent_length(points, labels)
        classes = np.unique(np.concatenate([labels, *(each.classes_ for each in fitted.values())]))
        xx0, xx1 = grid_over(points, grid_resolution, margin)
        grid = like(X, np.column_stack([xx0.ravel(), xx1.ravel()]))
        predictions = [
            np.searchsorted(classes, each.predict(grid)).reshape(xx0.shape)
            for each in fitted.values()
        ]
        confidences = None
        if response_method == "predict_proba":
            confidences = [
                each.predict_proba(grid).max(axis=1).reshape(xx0.shape) for each in fitted.values()
            ]
        display = cls(
            xx0=xx0,
            xx1=xx1,
            predictions=predictions,
            classes=classes,
            names=list(fitted),
            X=points,
            y=labels,
            confidences=confidences,
            accuracies=np.array(
                [accuracy_score(labels, each.predict(X)) for each in fitted.values()]
            ),
            feature_names=[str(name) for name in getattr(X, "columns", ("x0", "x1"))],
        )
        return display.plot(ax)

    def plot(self, ax: Any = None, *, multiclass_colors: Any = None) -> "DecisionRegionsDisplay":
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            One for each classifier. None: a new figure.
        multiclass_colors : sequence of matplotlib colours, default=None
            One for each class. None: those that all displays give to the classes.

        Returns
        -------
        display : DecisionRegionsDisplay

        Raises
        ------
        ValueError
            If the number of axes or of colours is another.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if multiclass_colors is None:
            multiclass_colors = class_colours(self.classes.size)
        colours = list(multiclass_colors)
        if len(colours) != self.classes.size:
            raise ValueError(
                f"multiclass_colors must be {self.classes.size}, one for each class. "
                f"Got {len(colours)}."
            )
        self.axes_ = new_panels(ax, self.names, (4.4, 4.0), 3, sharex=True, sharey=True)
        self.figure_ = self.axes_[0].figure
        self.surfaces_: list[Any] = []
        self.borders_: list[list[Any]] = []
        self.points_: list[list[Any]] = []
        for place, (axis, name) in enumerate(zip(self.axes_, self.names, strict=True)):
            self._draw_regions(axis, place, colours)
            self._draw_points(axis, colours)
            if self.accuracies is not None:
                name += f"\naccuracy {self.accuracies[place]:.3f}"
            axis.set_title(name)
        self._label()
        self.legend_ = add_legend(self.axes_[-1], beside=True, title="class")
        return self

    def _draw_regions(self, axis: Any, place: int, colours: list[Any]) -> None:
        """Colour the regions, and draw the borders between them."""
        from matplotlib.colors import ListedColormap

        codes = self.predictions[place]
        boundary: dict[str, Any] = {"xx0": self.xx0, "xx1": self.xx1, "response": codes}
        if "n_classes" in inspect.signature(DecisionBoundaryDisplay).parameters:
            boundary["n_classes"] = self.classes.size
        # Cells, not filled contours: contours pass through class 1 on the way from 0 to 2.
        drawn = DecisionBoundaryDisplay(**boundary).plot(plot_method="pcolormesh", ax=axis)
        surface = drawn.surface_
        surface.set(cmap=ListedColormap(colours), clim=(-0.5, self.classes.size - 0.5))
        surface.set(alpha=self._opacity(place), rasterized=True, zorder=-1)
        self.surfaces_.append(surface)
        borders = [
            axis.contour(
                self.xx0, self.xx1, codes == code, levels=[0.5], colors="0.25", linewidths=0.8
            )
            for code in np.unique(codes)
            if (codes != code).any()
        ]
        self.borders_.append(borders)

    def _opacity(self, place: int) -> Any:
        """Opacity of each cell: the same, or by how much likelier than chance the class is."""
        if self.confidences is None:
            return 0.3
        chance = 1 / self.classes.size
        share = np.clip((self.confidences[place] - chance) / (1 - chance), 0, 1)
        return FAINTEST + (STRONGEST - FAINTEST) * share

    def _draw_points(self, axis: Any, colours: list[Any]) -> None:
        """Draw the points of each class in its colour and with its marker."""
        if self.X is None or self.y is None:
            return
        self.points_.append(
            [
                axis.scatter(
                    *self.X[self.y == label].T,
                    s=20,
                    color=colours[code],
                    marker=marker(code),
                    edgecolor="black",
                    linewidth=0.4,
                    label=verbatim(label),
                )
                for code, label in enumerate(self.classes)
            ]
        )

    def _label(self) -> None:
        """Label the axes of the outer panels; a grid's ends are the ends of the axes."""
        names = self.feature_names if self.feature_names is not None else ("", "")
        outer = zip(self.axes_, bottom(self.axes_), leftmost(self.axes_), strict=True)
        for axis, is_bottom, is_leftmost in outer:
            axis.set_xlabel(verbatim(names[0]) if is_bottom else "")
            axis.set_ylabel(verbatim(names[1]) if is_leftmost else "")
            axis.set(xlim=self.xx0[0, [0, -1]], ylim=self.xx1[[0, -1], 0])
