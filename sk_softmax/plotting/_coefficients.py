"""Coefficients by class: the largest as bars, or all as images."""

from typing import Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from .._typing import Array
from ._inputs import (
    checked_names,
    chosen_rows,
    dense,
    feature_names_of,
    last_step,
    require,
    row_labels,
    row_titles,
)
from ._style import NEGATIVE, POSITIVE, bottom, new_panels, shortened

LINE = 0.24  # height of a bar, in inches


class CoefficientsDisplay:
    """What speaks for each class and against it, on one scale for all classes.

    Use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    coef : ndarray or sparse matrix of shape (n_classes, n_features) or (1, n_features)
        Coefficients; with two classes one row, which speaks for the second.
    classes : ndarray of shape (n_classes,)
        Labels.
    feature_names : array-like of shape (n_features,), default=None
        None: x0, x1, ...

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels,)
        The axes, one for each class (with two classes: one).
    figure_ : matplotlib Figure
    bars_ : list of matplotlib BarContainer
        The bars of each class; empty if images were drawn.
    images_ : list of matplotlib AxesImage
        The image of each class; empty if bars were drawn.
    colorbar_ : matplotlib Colorbar or None
        Of the images.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sk_softmax import SoftmaxClassifier
    >>> from sk_softmax.plotting import CoefficientsDisplay
    >>> X, y = load_wine(return_X_y=True, as_frame=True)
    >>> classifier = SoftmaxClassifier(C=0.1, l1_ratio=1).fit(X, y)
    >>> display = CoefficientsDisplay.from_estimator(classifier, n_top=5)
    >>> len(display.axes_)
    3
    """

    def __init__(self, *, coef: Any, classes: Any, feature_names: Any = None) -> None:
        self.coef = coef
        self.classes = classes
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        feature_names: Any = None,
        classes: Any = None,
        n_top: int = 10,
        signs: str = "both",
        image_shape: tuple[int, int] | None = None,
        ax: Any = None,
    ) -> "CoefficientsDisplay":
        """Draw the coefficients of a fitted classifier.

        Parameters
        ----------
        estimator : classifier or Pipeline
            Fitted, with ``coef_`` (dense or sparse); of a pipeline the last step.
        feature_names : array-like of shape (n_features,), default=None
            None: what the pipeline's steps before the last one or the training data call the
            features, else x0, x1, ...
        classes, n_top, signs, image_shape, ax
            As for `plot`.

        Returns
        -------
        display : CoefficientsDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        TypeError
            If it has no coefficients.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        last = last_step(estimator)
        coef = require(last, "coef_", "a linear classifier")
        if feature_names is None:
            feature_names = feature_names_of(estimator)
        display = cls(coef=coef, classes=last.classes_, feature_names=feature_names)
        return display.plot(ax, classes=classes, n_top=n_top, signs=signs, image_shape=image_shape)

    def plot(
        self,
        ax: Any = None,
        *,
        classes: Any = None,
        n_top: int = 10,
        signs: str = "both",
        image_shape: tuple[int, int] | None = None,
        cmap: Any = "RdBu_r",
    ) -> "CoefficientsDisplay":
        """Draw bars, or images where `image_shape` is given.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of Axes, default=None
            One for each class. None: a new figure.
        classes : label or array-like of labels, default=None
            The classes to show. None: all.
        n_top : int, default=10
            How many features to show of each class, those with the largest coefficients; fewer
            where fewer are not 0.
        signs : {"both", "positive"}, default="both"
            "positive": only features that speak for the class, as for the words of a text.
        image_shape : tuple of two int, default=None
            Height and width, where features are pixels, row by row.
        cmap : str or matplotlib Colormap, default="RdBu_r"
            Colours of images; its middle is 0.

        Returns
        -------
        display : CoefficientsDisplay

        Raises
        ------
        ValueError
            If a parameter does not fit the coefficients.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if signs not in ("both", "positive"):
            raise ValueError(f"signs must be 'both' or 'positive'. Got {signs!r}.")
        if n_top < 1:
            raise ValueError(f"n_top must be at least 1. Got {n_top}.")
        labels = row_labels(self.classes, self.coef.shape[0])
        rows = chosen_rows(labels, classes)
        titles = row_titles(self.classes, labels, rows)
        self.bars_: list[Any] = []
        self.images_: list[Any] = []
        self.colorbar_: Any = None
        if image_shape is None:
            self._draw_bars(ax, rows, titles, n_top, signs)
        else:
            self._draw_images(ax, rows, titles, image_shape, cmap)
        return self

    def _draw_bars(
        self, ax: Any, rows: list[int], titles: list[str], n_top: int, signs: str
    ) -> None:
        """Draw the largest coefficients of each class, by value."""
        names = checked_names(self.feature_names, self.coef.shape[1])
        shown = [_largest(self._row(row), n_top, signs) for row in rows]
        length = max((columns.size for columns, _ in shown), default=1)
        size = (3.4 if len(rows) > 1 else 5.2, 0.95 + LINE * max(length, 3))
        self.axes_ = new_panels(ax, titles, size, 3)
        self.figure_ = self.axes_[0].figure
        for axis, title, (columns, values) in zip(self.axes_, titles, shown, strict=True):
            places = np.arange(values.size)
            colours = np.where(values > 0, POSITIVE, NEGATIVE).tolist()
            self.bars_.append(axis.barh(places, values, height=0.7, color=colours))
            axis.set_yticks(places, [shortened(name) for name in names[columns]])
            axis.set_ylim(length - 0.4, -0.6)  # the largest on top, bars as thick in all panels
            axis.axvline(0, color="black", linewidth=0.8)
            axis.tick_params(axis="y", length=0)
            axis.spines[["top", "right", "left"]].set_visible(False)
            axis.set_title(title)
            if not values.size:
                said = "all zero" if signs == "both" else "none positive"
                axis.text(0.5, 0.5, said, transform=axis.transAxes, ha="center", color="0.4")
        self._scale_bars(shown)

    def _scale_bars(self, shown: list[tuple[Array, Array]]) -> None:
        """Give all panels one scale, symmetric where both signs occur."""
        ends = np.concatenate([values for _, values in shown]) if shown else np.zeros(0)
        largest = 1.05 * np.abs(ends).max(initial=0.0) or 1.0
        left = -largest if (ends < 0).any() else 0.0
        right = largest if (ends > 0).any() or not ends.size else 0.0
        for axis, is_bottom in zip(self.axes_, bottom(self.axes_), strict=True):
            axis.set_xlim(left, right)
            axis.set_xlabel("coefficient" if is_bottom else "")

    def _draw_images(
        self,
        ax: Any,
        rows: list[int],
        titles: list[str],
        shape: tuple[int, int],
        cmap: Any,
    ) -> None:
        """Draw all coefficients of each class as an image, 0 in the middle of the colours."""
        p = self.coef.shape[1]
        if len(shape) != 2 or shape[0] * shape[1] != p:
            raise ValueError(f"image_shape must have {p} pixels. Got {tuple(shape)}.")
        coefs = [self._row(row) for row in rows]
        largest = max(np.abs(coef).max() for coef in coefs) or 1.0
        self.axes_ = new_panels(ax, titles, (1.75, 1.75 * shape[0] / shape[1] + 0.3), 5)
        self.figure_ = self.axes_[0].figure
        for axis, title, coef in zip(self.axes_, titles, coefs, strict=True):
            image = axis.imshow(coef.reshape(shape), cmap=cmap, vmin=-largest, vmax=largest)
            self.images_.append(image)
            axis.set_title(title)
            axis.set_xticks([])
            axis.set_yticks([])
        self.colorbar_ = self.figure_.colorbar(
            self.images_[0], ax=list(self.axes_), label="coefficient", shrink=0.9, pad=0.02
        )

    def _row(self, row: int) -> Array:
        """The coefficients of one class, (n_features,)."""
        return dense(self.coef[[row]])[0]


def _largest(coef: Array, n_top: int, signs: str) -> tuple[Array, Array]:
    """Places and values of the largest coefficients that are not 0, from high to low."""
    size = coef if signs == "positive" else np.abs(coef)
    columns = np.argsort(-size, kind="stable")[:n_top]
    columns = columns[size[columns] > 0]
    columns = columns[np.argsort(-coef[columns], kind="stable")]
    return columns, coef[columns]
