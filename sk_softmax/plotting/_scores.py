"""Scores of cross-validation against C."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

from .._cross_validation.selection import Selection
from .._typing import Array
from ._c_axis import log_axis, log_positions, mark_choice
from ._inputs import require
from ._style import add_legend, dash, every, marker, new_panels

WANTED = "a fitted SoftmaxClassifierCV or OvAClassifierCV"


class Choice(NamedTuple):
    """What scores say: places on the grid."""

    l1_ratio: int
    best: int
    one_se: int
    within: Array  # the Cs within one standard error of the best, ascending


def choice(Cs: Array, means: Array, errors: Array) -> Choice | None:
    """The best C, and those no worse than one standard error; None where no score is known.

    Parameters
    ----------
    Cs : ndarray of shape (n_Cs,)
    means : ndarray of shape (n_l1_ratios, n_Cs)
        Mean scores, greater is better; nan where unknown.
    errors : ndarray of shape (n_l1_ratios, n_Cs)
        Their standard errors.
    """
    if np.isnan(means).all():
        return None
    by_C = np.where(np.isnan(means), -np.inf, means).T  # of equal ones the first, as in the search
    best, row = map(int, np.unravel_index(by_C.argmax(), by_C.shape))
    _, one_se = Selection(means, errors, (row, best)).one_standard_error(Cs)
    within = np.flatnonzero(means[row] >= means[row, best] - np.nan_to_num(errors[row, best]))
    return Choice(row, best, one_se, within[np.argsort(Cs[within], kind="stable")])


class CrossValidationScoreDisplay:
    """Mean scores of cross-validation and their standard errors, against C.

    Use `from_estimator` to make one. All parameters are stored as attributes.

    Parameters
    ----------
    Cs : ndarray of shape (n_Cs,)
    mean_scores : ndarray of shape (n_l1_ratios, n_Cs)
        Means over the folds; greater is better.
    standard_errors : ndarray of shape (n_l1_ratios, n_Cs)
        Standard errors of the means.
    l1_ratios : ndarray of shape (n_l1_ratios,), default=(0,)
    C : float, default=None
        The C that was chosen, to be marked.
    l1_ratio : float, default=None
        The l1_ratio that was chosen.
    score_name : str, default="Score"
        Label of the y axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        Mean scores, a line for each l1_ratio.
    bands_ : list of matplotlib FillBetweenPolyCollection
        One standard error to both sides.
    chosen_ : matplotlib Line2D or None
        At the C that was chosen.
    best_, one_se_ : matplotlib Line2D or None
        The best mean score, and the strongest penalty that is no worse than one standard error.
    threshold_ : matplotlib Line2D or None
        The best mean score less its standard error.
    legend_ : matplotlib Legend

    See Also
    --------
    sklearn.model_selection.ValidationCurveDisplay : Scores against any parameter.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_softmax import SoftmaxClassifierCV
    >>> from sk_softmax.plotting import CrossValidationScoreDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> search = SoftmaxClassifierCV(l1_ratios=[0.0, 1.0]).fit(X, y)
    >>> display = CrossValidationScoreDisplay.from_estimator(search, negate_score=True)
    >>> display.ax_.get_ylabel(), len(display.lines_)
    ('Log loss', 2)
    """

    def __init__(
        self,
        *,
        Cs: Array,
        mean_scores: Array,
        standard_errors: Array,
        l1_ratios: Any = (0.0,),
        C: float | None = None,
        l1_ratio: float | None = None,
        score_name: str = "Score",
    ) -> None:
        self.Cs = Cs
        self.mean_scores = mean_scores
        self.standard_errors = standard_errors
        self.l1_ratios = l1_ratios
        self.C = C
        self.l1_ratio = l1_ratio
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        negate_score: bool = False,
        score_name: str | None = None,
        ax: Any = None,
    ) -> "CrossValidationScoreDisplay":
        """Draw the scores of a fitted classifier with cross-validation.

        Parameters
        ----------
        estimator : SoftmaxClassifierCV or OvAClassifierCV
            Fitted.
        negate_score, score_name, ax
            As for `plot`. The score's name comes from the ``scoring`` parameter.

        Returns
        -------
        display : CrossValidationScoreDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        TypeError
            If it has no scores of cross-validation.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        display = cls(
            Cs=require(estimator, "Cs_", WANTED),
            mean_scores=require(estimator, "mean_scores_", WANTED),
            standard_errors=require(estimator, "standard_errors_", WANTED),
            l1_ratios=estimator.l1_ratios_,
            C=estimator.C_,
            l1_ratio=estimator.l1_ratio_,
            score_name=name_of_score(estimator.scoring),
        )
        return display.plot(ax, negate_score=negate_score, score_name=score_name)

    def plot(
        self, ax: Any = None, *, negate_score: bool = False, score_name: str | None = None
    ) -> "CrossValidationScoreDisplay":
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        negate_score : bool, default=False
            Whether to show the score's negative, as for ``"neg_log_loss"``: less is better then.
        score_name : str, default=None
            Label of the y axis. None: `self.score_name`, without its "Negative" if negated.

        Returns
        -------
        display : CrossValidationScoreDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        (self.ax_,) = new_panels(ax, ["scores"], (6.4, 4.2), 1)
        self.figure_ = self.ax_.figure
        sign = -1.0 if negate_score else 1.0
        Cs = np.asarray(self.Cs, dtype=np.float64)
        means, errors = np.atleast_2d(self.mean_scores), np.atleast_2d(self.standard_errors)
        order = np.argsort(Cs, kind="stable")
        x = np.empty_like(Cs)
        x[order] = log_positions(Cs[order])
        self._draw_lines(x[order], sign * means[:, order], errors[:, order])
        self._mark(x, Cs, means, errors, sign)
        Cs = Cs[order]
        self.chosen_, _ = mark_choice(self.ax_, Cs, self.C, label=self._chosen_label())
        log_axis(self.ax_, Cs)
        if score_name is None:
            score_name = _negated(self.score_name) if negate_score else self.score_name
        self.ax_.set_ylabel(score_name)
        several = len(self.l1_ratios) > 1
        self.legend_ = add_legend(self.ax_, title="mean score ± SE" if several else None)
        return self

    def _draw_lines(self, x: Array, means: Array, errors: Array) -> None:
        """A line with a band for each l1_ratio; darker colours for more of L1."""
        from matplotlib import colormaps

        shades = colormaps["viridis_r"](
            np.linspace(0.2, 1.0, len(means)) if len(means) > 1 else [0.6]
        )
        self.lines_, self.bands_ = [], []
        for place, (mean, error) in enumerate(zip(means, errors, strict=True)):
            several = len(self.l1_ratios) > 1
            label = f"l1_ratio = {self.l1_ratios[place]:g}" if several else "mean score ± SE"
            (line,) = self.ax_.plot(
                x,
                mean,
                color=shades[place],
                linestyle=dash(place),
                marker=marker(place),
                markersize=4,
                markevery=every(x.size),
                linewidth=1.5,
                label=label,
            )
            self.lines_.append(line)
            error = np.nan_to_num(error)
            self.bands_.append(
                self.ax_.fill_between(
                    x, mean - error, mean + error, color=shades[place], alpha=0.15, linewidth=0
                )
            )

    def _mark(self, x: Array, Cs: Array, means: Array, errors: Array, sign: float) -> None:
        """Mark the best score, and the choice of the rule of one standard error."""
        self.best_ = self.one_se_ = self.threshold_ = None
        found = choice(Cs, means, errors)
        if found is not None:
            row = found.l1_ratio
            least = means[row, found.best] - np.nan_to_num(errors[row, found.best])
            self.threshold_ = self.ax_.axhline(
                sign * least, color="0.5", linewidth=0.9, linestyle=(0, (2, 2)), zorder=1
            )
            for name, place, shape, label in (
                ("best_", found.best, "o", "best"),
                ("one_se_", found.one_se, "D", "one-SE rule"),
            ):
                (mark,) = self.ax_.plot(
                    x[place],
                    sign * means[row, place],
                    shape,
                    markersize=10,
                    markerfacecolor="none",
                    markeredgecolor="black",
                    markeredgewidth=1.4,
                    label=f"{label}: C = {Cs[place]:.3g}",
                )
                setattr(self, name, mark)

    def _chosen_label(self) -> str:
        """What was chosen, in words."""
        if self.C is None:
            return ""
        more = ""
        if self.l1_ratio is not None and len(self.l1_ratios) > 1:
            more = f", l1_ratio = {self.l1_ratio:.3g}"
        return f"chosen: C = {self.C:.3g}{more}"


def name_of_score(scoring: Any) -> str:
    """A score's name as a label: ``"neg_log_loss"`` is "Negative log loss", None "Accuracy"."""
    if scoring is None:
        return "Accuracy"  # what classifiers score by themselves
    name = str(getattr(scoring, "__name__", scoring) if callable(scoring) else scoring)
    if callable(scoring) and not hasattr(scoring, "__name__"):  # one of make_scorer
        function = getattr(scoring, "_score_func", None)
        name = getattr(function, "__name__", "score")
        name = name if getattr(scoring, "_sign", 1) > 0 else f"neg_{name}"
    if name.startswith("neg_"):
        name = f"negative {name[4:]}"
    return name.replace("_", " ").capitalize()


def _negated(name: str) -> str:
    """The name of a score's negative."""
    rest = name.removeprefix("Negative ")
    return rest.capitalize() if rest != name else f"Negative {name[:1].lower()}{name[1:]}"
